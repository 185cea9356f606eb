# SPDX-License-Identifier: BSD-3-Clause
# overhead.jl: what Julia adds to the smallest call there is, 1 query and 5 keys of 4 dimensions: prepared, by run!, beside the
# same plan run by a loop in C; and by the functions that prepare nothing, beside attn_forward in such a loop. Needs cc:
#
#     julia --project=bindings/julia bindings/julia/bench/overhead.jl

using Attn, Libdl, Printf

const SOURCE = """
    #include <time.h>
    double seconds(int (*run)(void *, void *), void *handle, void *args, long count)
    {
        struct timespec a, b;
        clock_gettime(CLOCK_MONOTONIC, &a);
        for (long i = 0; i < count; i++) run(handle, args);
        clock_gettime(CLOCK_MONOTONIC, &b);
        return (double)(b.tv_sec - a.tv_sec) + 1e-9 * (double)(b.tv_nsec - a.tv_nsec);
    }
    """

function compiled()
    file = joinpath(mktempdir(), "loop")
    write("$file.c", SOURCE)
    run(`cc -O2 -shared -fPIC -o $file.so $file.c`)
    return dlsym(dlopen("$file.so"), :seconds)
end

in_c(loop, run, handle, call, count) =
    GC.@preserve call ccall(loop, Cdouble, (Ptr{Cvoid}, Ptr{Cvoid}, Ptr{Attn.ForwardArgs}, Clong), run, handle, call.args,
                            count)

function in_julia(work, count)
    start = time_ns()
    for _ in 1:count
        work()
    end
    return 1e-9 * (time_ns() - start)
end

median(numbers) = sort(numbers)[cld(length(numbers), 2)]

function main(rounds = 101, count = 10_000)
    query, key, context = ones(Float32, 4, 1), ones(Float32, 4, 5), zeros(Float32, 4, 1)
    mechanism, loop = Mechanism(), compiled()
    call = reserve!(Call(mechanism, query, key; context = context))
    planned = count -> in_c(loop, Attn.at_attn_plan_run[], call.plan.at, call, count)
    plain = count -> in_c(loop, Attn.at_attn_forward[], call.mechanism, call, count)
    julia(work) = count -> in_julia(work, count)
    works = (planned, julia(() -> run!(call)), plain, julia(() -> mechanism(query, key; out = context)),
             julia(() -> mechanism(query, key)), julia(() -> attention(query, key)))
    foreach(work -> work(10), works)
    times = [[work(count) / count for work in works] for _ in 1:rounds]
    names = ("attn_plan_run in C" => 1, "run!(call)" => 1, "attn_forward in C" => 3, "mechanism(query, key; out)" => 3,
             "mechanism(query, key)" => 3, "attention(query, key)" => 3)
    for (n, (name, least)) in enumerate(names)
        @printf("%-28s %8.0f ns   %+8.0f ns over C\n", name, 1e9 * median([t[n] for t in times]),
                1e9 * median([t[n] - t[least] for t in times]))
    end
end

main()
