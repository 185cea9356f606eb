/* SPDX-License-Identifier: BSD-3-Clause
 *
 * forward.hpp: attn::forward and its arguments. Part of attn.hpp. */
#ifndef ATTN_FORWARD_HPP
#define ATTN_FORWARD_HPP

#include "attn.h"
#include "mechanism.hpp"
#include "memory.hpp"
#include "status.hpp"
#include "tensor.hpp"

#include <cstddef>
#include <cstdint>

namespace attn
{

enum class scores_stage : attn_scores_stage {
    raw = ATTN_SCORES_RAW,
    capped = ATTN_SCORES_CAPPED,
    masked = ATTN_SCORES_MASKED,
    weights = ATTN_SCORES_WEIGHTS
};

/* attn_weights_stats: outputs that say what the weights are like, before dropout. */
struct weights_stats {
    tensor entropy = {}; /* [B, Hq, Tq], in nats; its exp is the effective number of keys */
    tensor strongest =
        {}; /* [B, Hq, Tq], std::int32_t or std::int64_t: the key of the greatest weight; -1: none is seen */
    tensor key_sums = {}; /* [B, Hq, Tk], over the queries */
};

/* attn_forward_args: what is left out is not wanted, or has its default. */
struct forward_args {
    const_tensor query = {};         /* [B, Hq, Tq, Dq]; missing leading dimensions are 1, here and below */
    const_tensor key = {};           /* [B, Hk, Tk, Dk] */
    const_tensor value = {};         /* [B, Hk, Tk, Dv]; left out: the keys are the values */
    const_tensor key_scales = {};    /* [B, Hk, Tk], float: of keys of std::int8_t, what each row is multiplied by */
    const_tensor value_scales = {};  /* likewise of values */
    const attn::memory *memory = {}; /* instead of key, value, their scales and key_lengths */
    const_tensor mask = {};          /* bool, true: may be seen; broadcasts to [B, Hq, Tq, Tk] */
    const_tensor bias = {};          /* broadcasts to [B, Hq, Tq, Tk] */
    const_tensor key_lengths = {};   /* [B], std::int32_t or std::int64_t */
    const_tensor query_offsets = {}; /* [B + 1], likewise: sequence b has rows [b] .. [b + 1] - 1 of query [1, Hq, all
                                        of them, Dq], and of what is said of them; */
    const_tensor key_offsets = {};   /* likewise of key and value */
    const_tensor page_table = {};    /* [B, most], likewise: the pages of each sequence, of which there are N in key and
                                        value [N, Hk, page, Dk]; */
    const_tensor page_offsets = {};  /* [B + 1]: page_table is [all] then, and these entries of it are sequence b's */
    attn::align mask_align = attn::align::none; /* bottom_right: mask is [.., n], of the last n keys of each sequence */
    std::int64_t query_start = 0;               /* position of query 0 */
    double dropout = 0;                         /* probability */
    std::uint64_t dropout_seed = 0;             /* which weights are dropped, */
    std::uint64_t dropout_offset = 0;           /* and where among them these begin */
    tensor context = {};                        /* out [B, Hq, Tq, Dv] */
    tensor weights = {};                        /* out [B, Hq, Tq, Tk] */
    tensor scores = {};                         /* out [B, Hq, Tq, Tk], */
    attn::scores_stage stage = attn::scores_stage::raw; /* of this stage */
    tensor logsumexp = {};                              /* out [B, Hq, Tq] */
    weights_stats stats = {};
    buffer workspace = {}; /* scratch, of forward_workspace(); left out: the engine's */
};

namespace detail
{

inline attn_weights_stats lower(const weights_stats &stats) noexcept
{
    auto c = sized<attn_weights_stats>();
    c.entropy = stats.entropy.get();
    c.strongest = stats.strongest.get();
    c.key_sums = stats.key_sums.get();
    return c;
}

/* The same for attn.h, but for the stats. It points into args. */
inline attn_forward_args lower(const forward_args &args) noexcept
{
    auto c = sized<attn_forward_args>();
    c.scores_stage = static_cast<attn_scores_stage>(args.stage);
    c.query = args.query.get();
    c.key = args.key.get();
    c.value = args.value.get();
    c.mask = args.mask.get();
    c.bias = args.bias.get();
    c.key_lengths = args.key_lengths.get();
    c.query_start = args.query_start;
    c.context = args.context.get();
    c.weights = args.weights.get();
    c.scores = args.scores.get();
    c.logsumexp = args.logsumexp.get();
    c.workspace = args.workspace.data;
    c.workspace_size = args.workspace.size;
    c.dropout = args.dropout;
    c.dropout_seed = args.dropout_seed;
    c.dropout_offset = args.dropout_offset;
    c.memory = args.memory != nullptr ? args.memory->get() : nullptr;
    c.key_scales = args.key_scales.get();
    c.value_scales = args.value_scales.get();
    c.query_offsets = args.query_offsets.get();
    c.key_offsets = args.key_offsets.get();
    c.mask_align = static_cast<attn_align>(args.mask_align);
    c.page_table = args.page_table.get();
    c.page_offsets = args.page_offsets.get();
    return c;
}

/* With its stats, which it points at. */
inline attn_forward_args lower(const forward_args &args, const attn_weights_stats &stats) noexcept
{
    attn_forward_args c = lower(args);
    if (stats.entropy != nullptr || stats.strongest != nullptr || stats.key_sums != nullptr) c.stats = &stats;
    return c;
}

} // namespace detail

inline status try_forward(const mechanism &rule, const forward_args &args) noexcept
{
    const attn_weights_stats stats = detail::lower(args.stats);
    const attn_forward_args c = detail::lower(args, stats);
    const attn_status there = detail::check_there(args.memory);
    return static_cast<status>(there == ATTN_OK ? attn_forward(rule.get(), &c) : there);
}

/* A forward call made ready, for a loop that makes it many times: its first run makes an attn_plan, and each is a run
 * of that. It keeps the views, not what they look at, which must be there for the first run in any case, as must the
 * mechanism, which may be moved. What is bound to that stays borrowed while the call is run. One thread at a time. A
 * workspace in the arguments is not used: the plan has scratch of its own. */
class forward_call
{
  public:
    forward_call(const mechanism &rule, const forward_args &args) noexcept
        : rule_(rule.get()), args_(args), stats_(detail::lower(args_.stats)), c_(detail::lower(args_, stats_))
    {
    }

    ~forward_call()
    {
        attn_plan_destroy(plan_);
    }

    forward_call(const forward_call &) = delete; /* it points into itself */
    forward_call &operator=(const forward_call &) = delete;

    status try_run() noexcept
    {
        const attn_status code = plan_ != nullptr ? ATTN_OK : make();
        return static_cast<status>(code == ATTN_OK ? attn_plan_run(plan_, nullptr) : code);
    }

    /* With other addresses, and what else attn_plan_run takes anew, where the rest is as it was made ready. The next
     * run without arguments is with these. */
    status try_run(const forward_args &args) noexcept
    {
        const attn_weights_stats stats = detail::lower(args.stats);
        const attn_forward_args c = detail::lower(args, stats);
        attn_status code = plan_ != nullptr ? ATTN_OK : make();
        if (code == ATTN_OK) code = detail::check_there(args.memory);
        return static_cast<status>(code == ATTN_OK ? attn_plan_run(plan_, &c) : code);
    }

#if ATTN_THROWS
    void run()
    {
        detail::check(try_run());
    }

    void run(const forward_args &args)
    {
        detail::check(try_run(args));
    }
#endif

  private:
    attn_status make() noexcept
    {
        const bool empty = args_.memory != nullptr && c_.memory == nullptr; /* when it was made ready */
        return empty ? detail::refuse_memory() : attn_plan_create(rule_, &c_, &plan_);
    }

    const attn_mechanism *rule_;
    forward_args args_;
    attn_weights_stats stats_;
    attn_forward_args c_;
    attn_plan *plan_ = nullptr;
};

/* The bytes of workspace that forward needs for these arguments. */
inline result<std::size_t> try_forward_workspace(const mechanism &rule, const forward_args &args) noexcept
{
    const attn_weights_stats stats = detail::lower(args.stats);
    const attn_forward_args c = detail::lower(args, stats);
    return detail::told_where<std::size_t>(detail::check_there(args.memory), [&](std::size_t *bytes) {
        return attn_forward_workspace(rule.get(), &c, bytes);
    });
}

#if ATTN_THROWS
inline void forward(const mechanism &rule, const forward_args &args)
{
    detail::check(try_forward(rule, args));
}

inline std::size_t forward_workspace(const mechanism &rule, const forward_args &args)
{
    return try_forward_workspace(rule, args).value();
}
#endif

} // namespace attn

#endif
