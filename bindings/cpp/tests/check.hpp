/* SPDX-License-Identifier: BSD-3-Clause
 *
 * check.hpp: the tests' own frame: a test is a function, named as a statement; what does not hold is said and counted.
 */
#ifndef ATTN_CHECK_HPP
#define ATTN_CHECK_HPP

#include <attn/attn.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

namespace check
{

inline int failures = 0;

inline void that(bool holds, const char *what, const char *file, int line)
{
    if (holds) return;
    std::printf("%s:%d: %s does not hold\n", file, line, what);
    failures++;
}

inline void near(double got, double wanted, double bound, const char *what, const char *file, int line)
{
    if (std::fabs(got - wanted) <= bound) return; /* a NaN is never near */
    std::printf("%s:%d: %s is %.9g, wanted %.9g within %.3g\n", file, line, what, got, wanted, bound);
    failures++;
}

/* Numbers between -1 and 1, the same every time. */
template <class T = float> std::vector<T> numbers(std::size_t count, unsigned seed)
{
    std::vector<T> data(count);
    for (T &number : data) {
        seed = seed * 1664525u + 1013904223u;
        number = static_cast<T>(seed >> 8) / static_cast<T>(8388608) - static_cast<T>(1);
    }
    return data;
}

struct test {
    const char *name;
    void (*run)();
};

template <std::size_t N> int run(const test (&tests)[N])
{
    for (const test &one : tests) {
        const int before = failures;
#if ATTN_THROWS
        try {
            one.run();
        } catch (const std::exception &thrown) {
            that(false, thrown.what(), one.name, 0);
        }
#else
        one.run();
#endif
        std::printf("%s %s\n", failures == before ? "ok    " : "FAILED", one.name);
    }
    return failures == 0 ? 0 : 1;
}

} // namespace check

#define CHECK(condition) check::that(condition, #condition, __FILE__, __LINE__)
#define CHECK_NEAR(got, wanted, bound)                                                                                 \
    check::near(static_cast<double>(got), static_cast<double>(wanted), bound, #got, __FILE__, __LINE__)
/* The call fails with this status, and the sentence contains these words. */
#define CHECK_THROWS(call, code, words)                                                                                \
    do {                                                                                                               \
        bool threw = false;                                                                                            \
        try {                                                                                                          \
            call;                                                                                                      \
        } catch (const attn::error &thrown) {                                                                          \
            threw = thrown.status() == (code) && std::strstr(thrown.what(), words) != nullptr;                         \
            if (!threw) std::printf("%s\n", thrown.what());                                                            \
        }                                                                                                              \
        check::that(threw, #call " throws " #code, __FILE__, __LINE__);                                                \
    } while (false)

#endif
