# SPDX-License-Identifier: BSD-3-Clause
# documents.jl: the Julia in the README runs as printed, and prints what is printed there; the examples run; whatever is
# exported is described; abi.jl has the structs of the library that is loaded.

const HERE = dirname(@__DIR__)

# What a program prints, as whoever reads the README would run it: Pkg.test() has a load path of its own.
function printed(file)
    environment = filter(pair -> pair.first != "JULIA_LOAD_PATH", copy(ENV))
    haskey(environment, "ATTN_LIBRARY") && (environment["ATTN_LIBRARY"] = abspath(environment["ATTN_LIBRARY"]))
    program = setenv(`$(Base.julia_cmd()) --startup-file=no --project=$HERE $file`, environment; dir = mktempdir())
    return read(program, String)
end

@testset "the programs of $(relpath(document, HERE))" for document in joinpath.(HERE, ["README.md", "../../README.md"])
    text = read(document, String)
    programs = collect(eachmatch(r"```julia\n(.*?)```(?:\n+```text\n(.*?)```)?"s, text))
    @test !isempty(programs)
    for program in programs
        file = joinpath(mktempdir(), "program.jl")
        write(file, program[1])
        @test printed(file) == something(program[2], "")
    end
end

@testset "example $example" for (example, says) in (
    ("sentence", r" it: it 0\.\d+, animal 0\."), ("decoder_step", r"as without a memory: true"),
    ("layer", r"step 500: mean square error 0\.0"))
    @test occursin(says, printed(joinpath(HERE, "examples", "$example.jl")))
end

@testset "whatever is exported is described" begin
    undescribed = filter(name -> !haskey(Base.Docs.meta(Attn), Base.Docs.Binding(Attn, name)), names(Attn))
    @test isempty(undescribed)
end

@testset "another library is refused" begin
    sizes(structs) = [Attn.constant("sizeof $name") == sizeof(type) for (name, type) in pairs(structs)]
    @test all(sizes(Attn.STRUCTS)) && length(Attn.STRUCTS) == 15
    @test_throws AttnError Attn.constant("sizeof attn_nothing")
    mktemp() do file, io
        withenv("ATTN_LIBRARY" => file) do
            @test_throws ErrorException Attn.load_library()
        end
    end
    @test attention(ones(2, 1), ones(2, 1)) == ones(2, 1) # what was loaded is there still
end
