// SPDX-License-Identifier: BSD-3-Clause
// Made from include/attn/attn.h by `cargo run -p attn-generate`; not to be edited.

use std::os::raw::{c_char, c_void};

pub const ATTN_VERSION_MAJOR: i32 = 0;

pub const ATTN_VERSION_MINOR: i32 = 1;

pub const ATTN_VERSION_PATCH: i32 = 0;

/// The number of the binary interface that this header describes; also the SONAME's.
pub const ATTN_ABI_VERSION: i32 = 0;

pub type attn_status = i32;

pub const ATTN_OK: attn_status = 0;

/// a required argument is missing, or a value is outside its range
pub const ATTN_ERR_ARGUMENT: attn_status = 10;

/// a struct_size that no version of the struct had
pub const ATTN_ERR_STRUCT_SIZE: attn_status = 15;

/// ranks or dimensions do not fit together
pub const ATTN_ERR_SHAPE: attn_status = 20;

/// an element type that is not taken there
pub const ATTN_ERR_DTYPE: attn_status = 30;

/// an output shares memory with another argument or with itself
pub const ATTN_ERR_OVERLAP: attn_status = 40;

/// sizes whose product cannot be addressed
pub const ATTN_ERR_OVERFLOW: attn_status = 50;

/// a parameter that the mechanism has not, or one that it needs and that is not bound
pub const ATTN_ERR_PARAMETER: attn_status = 60;

/// a buffer of the caller's is too small
pub const ATTN_ERR_BUFFER: attn_status = 70;

/// the allocator gave nothing
pub const ATTN_ERR_NOMEM: attn_status = 80;

/// the BLAS or the machine cannot do what was asked
pub const ATTN_ERR_BACKEND: attn_status = 90;

/// well formed, but not in this version
pub const ATTN_ERR_UNSUPPORTED: attn_status = 100;

pub type attn_dtype = i32;

/// IEEE binary32
pub const ATTN_F32: attn_dtype = 1;

/// IEEE binary64
pub const ATTN_F64: attn_dtype = 2;

/// IEEE binary16: computed with in float32, see attn_forward
pub const ATTN_F16: attn_dtype = 3;

/// bfloat16: likewise
pub const ATTN_BF16: attn_dtype = 4;

/// signed 8-bit integer: keys and values, with scales; see attn_forward_args and memories
pub const ATTN_I8: attn_dtype = 5;

/// one byte, 0 is false and anything else is true
pub const ATTN_BOOL: attn_dtype = 6;

/// signed 32-bit integer
pub const ATTN_I32: attn_dtype = 7;

/// signed 64-bit integer
pub const ATTN_I64: attn_dtype = 8;

/// ```text
/// A view of memory that belongs to the caller. This layout is frozen. Element (i, j, ...) lies at
/// data + (i * stride[0] + j * stride[1] + ...) * size of the dtype, and must be aligned to that size. Strides count
/// elements, may have any order and sign, and may be 0 to broadcast an input. The elements of an output must lie apart
/// in the plain way: sorted by stride, each dimension steps past all that the smaller ones cover. Entries past ndim are
/// not read. When a dimension is 0, data may be anything, NULL too.
/// ```
#[repr(C)]
#[derive(Clone, Copy)]
pub struct attn_tensor {
    pub data: *mut c_void,
    /// an attn_dtype
    pub dtype: i32,
    /// 1 to 4
    pub ndim: i32,
    /// each >= 0
    pub shape: [i64; 4],
    pub stride: [i64; 4],
}

/// Zeros.
impl Default for attn_tensor {
    fn default() -> Self {
        unsafe { std::mem::zeroed() }
    }
}

/// ```text
/// What stands in ndim of a view that is wrong in itself, where who made it could not refuse it: attn.hpp does so. Every
/// function refuses such a tensor, ATTN_ERR_SHAPE, and says what is wrong with it.
///
/// it reaches from element stride[0] to stride[1], but there are shape[0]
/// ```
pub const ATTN_VIEW_BEYOND: u32 = 101;

/// ```text
/// it was given shape[0] dimensions, but stride[0] strides
/// ```
pub const ATTN_VIEW_STRIDES: u32 = 102;

/// ```text
/// The means to compute: threads, allocator, BLAS. It has no global state, so that two engines in one process do not
/// know of each other. Mechanisms keep their engine alive: destroying it while they exist is allowed, and takes
/// effect when the last of them is destroyed.
/// ```
#[repr(C)]
pub struct attn_engine {
    hidden: [u8; 0],
    marker: std::marker::PhantomData<(*mut u8, std::marker::PhantomPinned)>,
}

/// ```text
/// How to compute; the numbers mean the same either way, and differ by roundings. Tiles are for the softmax of float32.
/// What they do not take goes through the BLAS, call by call: float64, hardmax, and a scale (0 excepted), a softcap or
/// a log2(e) / temperature whose magnitude is not within 2^-40 .. 2^40. Automatic is tiles, but for scores with
/// projections: these are left to the BLAS where it suits the CPU, has one thread, and the process has one CPU. Where a
/// way is automatic, the environment variable ATTN_WAY may name another (automatic, blas, tiles).
/// ```
pub type attn_way = i32;

/// the default
pub const ATTN_WAY_AUTOMATIC: attn_way = 0;

/// whole matrices through the BLAS: complete, on every machine
pub const ATTN_WAY_BLAS: attn_way = 1;

/// fused tiles, and projections by kernels of our own
pub const ATTN_WAY_TILES: attn_way = 2;

pub type attn_log_level = i32;

pub const ATTN_LOG_INFO: attn_log_level = 10;

pub const ATTN_LOG_WARNING: attn_log_level = 20;

/// Returns at least bytes bytes aligned to alignment (a power of two, at most 64), or NULL. bytes is never 0.
pub type attn_allocate_fn = Option<unsafe extern "C" fn(data: *mut c_void, bytes: usize, alignment: usize) -> *mut c_void>;

/// Takes back what attn_allocate_fn gave, with the same bytes. pointer is never NULL.
pub type attn_release_fn = Option<unsafe extern "C" fn(data: *mut c_void, pointer: *mut c_void, bytes: usize)>;

/// One item of a job; called once for each index. It does not fail and does not call back into the library.
pub type attn_task_fn = Option<unsafe extern "C" fn(task_data: *mut c_void, index: i64)>;

/// ```text
/// Runs task(task_data, i) for every i in 0 .. count - 1, in any order, on any threads, and returns when all are done;
/// threads other than the caller's compute in its floating-point mode, or the result may depend on them.
/// ```
pub type attn_execute_fn = Option<unsafe extern "C" fn(data: *mut c_void, count: i64, task: attn_task_fn, task_data: *mut c_void)>;

/// A sentence for the application's log; message is valid during the call only.
pub type attn_log_fn = Option<unsafe extern "C" fn(data: *mut c_void, level: attn_log_level, message: *const c_char)>;

/// ```text
/// Without an executor an engine has threads - 1 workers. They start with its first large job, take no signals, and
/// compute in the caller's floating-point mode. After a job a worker stays awake for 50 microseconds, in case there is
/// another, then sleeps. On Linux a worker that would wake on the CPU of the thread that wakes it is sent to another of
/// those that it may use, for the moment of waking; the affinity of the application's threads is never touched.
/// After a fork the child may go on with the engine; its workers start anew there. Not so where the BLAS is an OpenBLAS
/// with OpenMP ("threading" in attn_engine_describe) that has been used before: its products hang in the child, whoever
/// calls. Without an allocator of the caller's, Linux is asked for huge pages for what memories keep, where that is 8 MB
/// or more in one place: a pool of pages, or the room of one head of a sequence.
/// ```
#[repr(C)]
#[derive(Clone, Copy)]
pub struct attn_engine_options {
    /// sizeof(attn_engine_options), set by ATTN_ENGINE_OPTIONS_INIT
    pub struct_size: u32,
    /// ```text
    /// the caller included, at most 1024; 0: one per CPU that this process may use, as far as its
    /// control groups (Linux) give it time
    /// ```
    pub threads: i32,
    pub way: attn_way,
    /// 0
    pub reserved: i32,
    /// both or neither; NULL: the C library. Called from any thread that uses
    pub allocate: attn_allocate_fn,
    /// the engine; must be thread-safe if the engine is shared
    pub release: attn_release_fn,
    pub allocator_data: *mut c_void,
    /// the application's own thread pool in place of the engine's, or NULL;
    pub execute: attn_execute_fn,
    /// ```text
    /// threads is then its size, a hint: where there are more, they may have to take
    /// turns. Entered by every caller, also at once
    /// ```
    pub executor_data: *mut c_void,
    /// called while the engine is created, or NULL; the library prints nothing itself
    pub log: attn_log_fn,
    pub log_data: *mut c_void,
    /// ```text
    /// the instruction set to compute with: "portable", or "avx2" or "avx512" on x86-64, "neon" on
    /// 64-bit ARM; NULL: the widest that this CPU has, unless the environment variable ATTN_KERNELS
    /// names one
    /// ```
    pub kernels: *const c_char,
}

/// Zeros, which are the defaults, and the size.
impl Default for attn_engine_options {
    fn default() -> Self {
        Self { struct_size: std::mem::size_of::<Self>() as u32, ..unsafe { std::mem::zeroed() } }
    }
}

/// ```text
/// The rule: a score function with its parameters, the modifiers of the scores, and the normaliser.
///
/// Which decoder state is the query is the caller's choice: Bahdanau scores with the state before the step, Luong with
/// the state after it. Values are usually the keys; leave value out of attn_forward_args then.
/// ```
#[repr(C)]
pub struct attn_mechanism {
    hidden: [u8; 0],
    marker: std::marker::PhantomData<(*mut u8, std::marker::PhantomPinned)>,
}

/// ```text
/// What an additive score has beside its plain form; the flags may be joined by |.
///
/// b [A] inside the tanh
/// ```
pub const ATTN_ADDITIVE_BIAS: u32 = 1;

/// ```text
/// g v / |v| in place of v, g [1] (Salimans and Kingma 2016)
/// ```
pub const ATTN_ADDITIVE_NORMALISED: u32 = 2;

/// no W: queries come with A dimensions and are used as they are
pub const ATTN_ADDITIVE_QUERY_PROJECTED: u32 = 4;

/// no U: keys come with A dimensions and are used as they are
pub const ATTN_ADDITIVE_KEY_PROJECTED: u32 = 8;

/// A parameter, as attn_mechanism_param_info tells of it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct attn_param_info {
    /// sizeof(attn_param_info), set by ATTN_PARAM_INFO_INIT before the call
    pub struct_size: u32,
    pub ndim: i32,
    /// 1 past ndim
    pub shape: [i64; 4],
    /// the product of the shape
    pub elements: i64,
    /// "W", "U", "v", "b", "g"; static
    pub name: *const c_char,
    /// 1 if a tensor is bound to it
    pub bound: i32,
    pub reserved: i32,
}

/// Zeros, which are the defaults, and the size.
impl Default for attn_param_info {
    fn default() -> Self {
        Self { struct_size: std::mem::size_of::<Self>() as u32, ..unsafe { std::mem::zeroed() } }
    }
}

pub type attn_normaliser = i32;

pub const ATTN_SOFTMAX: attn_normaliser = 0;

/// 1 on the highest score, the lowest index on a tie: softmax as tau -> 0
pub const ATTN_HARDMAX: attn_normaliser = 1;

/// ```text
/// How products may be made. Exact, the default, has one meaning on every CPU: what is kept in 16 or 8 bits is widened
/// to float32 as it is read, and products, weights and sums are float32.
///
/// Fast lets a CPU multiply numbers as they are kept, where it has instructions that are quicker at it:
/// queries, keys and values of ATTN_BF16: their products are exact and added in float32 as before; weights are rounded
/// to bfloat16 before they meet the values, which changes each by 2^-8 of itself at most, and the rounded ones sum to 1.
/// Keys and values of ATTN_I8: queries become whole numbers of 15 bits and a sign, relative to their greatest element,
/// and weights likewise, relative to the greatest of up to 512 keys. Log-sum-exps, weights and stats that are asked for
/// are of weights that were not rounded. All else is exact: other types, gradients, calls with dropout, scores that are
/// no products of the call's own queries and keys, rows whose elements are not side by side, and CPUs where it would not
/// be faster. attn_engine_describe tells what this CPU does. Subnormal elements, products and sums may count as 0.
/// Results do not depend on the number of threads, but on the CPU.
/// ```
pub type attn_precision = i32;

pub const ATTN_PRECISION_EXACT: attn_precision = 0;

pub const ATTN_PRECISION_FAST: attn_precision = 1;

/// ```text
/// Where query i stands among the keys, which is what causal, window and ALiBi measure from. There is no default:
/// whoever asks for one of them says which.
/// ```
pub type attn_align = i32;

/// takes the modifier away
pub const ATTN_ALIGN_NONE: attn_align = 0;

/// position = attn_forward_args.query_start + i
pub const ATTN_ALIGN_TOP_LEFT: attn_align = 1;

/// ```text
/// position = (valid keys) - Tq + i: the last query meets the last key. Of padded
/// queries that is not so: causal self-attention of padded sequences is top-left, or
/// without key_lengths
/// ```
pub const ATTN_ALIGN_BOTTOM_RIGHT: attn_align = 2;

/// ```text
/// Adds table[h, c(j - position)], a learned bias of distances; nothing of the size Tq x Tk is made of it. table [Hq,
/// n], or [1, n] for all heads, of the dtype that the query is computed in; borrowed as a parameter is.
///
/// Clipped: n = 2 max_distance + 1, c = max_distance + the distance, cut at -max_distance and max_distance (the bias
/// d_{i-j} of Parikh 2016's intra-sentence attention, with max_distance 10; the clipping of Shaw 2018).
/// T5: n buckets (Raffel 2020): half of them for keys behind the query, distance 0 included, half for those ahead; of
/// each half the first half for one distance each, the others for distances that grow like a logarithm up to
/// max_distance, the last for all beyond (n at least 4, even). T5 causal: the same with all n, at least 2, for keys that
/// are not ahead; keys ahead share bucket 0.
/// ```
pub type attn_relative = i32;

pub const ATTN_RELATIVE_NONE: attn_relative = 0;

pub const ATTN_RELATIVE_CLIPPED: attn_relative = 1;

pub const ATTN_RELATIVE_T5: attn_relative = 2;

pub const ATTN_RELATIVE_T5_CAUSAL: attn_relative = 3;

/// ```text
/// Local attention (Luong 2015, section 3.2): query i sees only the keys within half_width of an aligned position p.
///
/// Monotonic: p = attn_forward_args.query_start + i, but at most that of the last valid key.
/// Predictive: p = S sigmoid(v_p^T tanh(W_p q)), S being the number of valid keys, q the query as it comes; the weights,
/// once they are normalised, are multiplied by exp(-(j - p)^2 / (2 sigma^2)), sigma = half_width / 2, and not normalised
/// again: key j counts from 0. Gradients flow through that factor. This gives the mechanism two parameters more, W_p
/// [hidden_dim, query_dim] and v_p [hidden_dim].
///
/// Each query costs what 2 half_width + 1 keys cost, whatever Tk is.
/// ```
pub type attn_local = i32;

pub const ATTN_LOCAL_NONE: attn_local = 0;

pub const ATTN_LOCAL_MONOTONIC: attn_local = 1;

pub const ATTN_LOCAL_PREDICTIVE: attn_local = 2;

/// the keys are those within half_width of floor(p), as in Luong's released code
pub const ATTN_LOCAL_PREDICTIVE_FLOOR: attn_local = 3;

/// ```text
/// Which elements of a row of n make pair i, i < n / 2. There is no default, since weights are right with one of them
/// alone: whoever turns anything says which. 0 is none, and refused.
/// ```
pub type attn_rope_layout = i32;

/// (i, i + n/2): GPT-NeoX, Llama's weights as transformers has them
pub const ATTN_ROPE_HALVES: attn_rope_layout = 1;

/// (2i, 2i + 1): the paper's; GPT-J, Llama's own code
pub const ATTN_ROPE_INTERLEAVED: attn_rope_layout = 2;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct attn_rope_options {
    /// sizeof(attn_rope_options), set by ATTN_ROPE_OPTIONS_INIT
    pub struct_size: u32,
    /// to be set: no default
    pub layout: attn_rope_layout,
    /// n, even: that many of each row are rotated, the first ones; 0: all
    pub dimensions: i64,
    /// 0: 10000
    pub base: f64,
    /// the position of row 0; row t has first + t. 0 where there are positions
    pub first: i64,
    /// ```text
    /// [B, T], or [T] for all sequences, ATTN_I32 or ATTN_I64: of each row. Or NULL
    /// ```
    pub positions: *const attn_tensor,
    /// 1: turns back, by the negative angles
    pub inverse: i32,
    /// 0
    pub reserved: i32,
}

/// Zeros, which are the defaults, and the size.
impl Default for attn_rope_options {
    fn default() -> Self {
        Self { struct_size: std::mem::size_of::<Self>() as u32, ..unsafe { std::mem::zeroed() } }
    }
}

/// ```text
/// Keys and values made ready for many queries: encoder states that are projected once for all decoder steps (Bahdanau
/// 2014: U h_j does not depend on the step), or a growing cache of the keys and values of a decoder. It holds copies: of
/// values as they come, of keys as the score function wants them, with the parameters that were bound when they were
/// appended. Each sequence has a length of its own; positions past it are never read.
///
/// A memory of ATTN_I8 takes keys and values of ATTN_F32, ATTN_F16 or ATTN_BF16, all of one type, and queries of any of
/// these. It keeps each row, a head's key or value at a position, as integers from -127 to 127 and one float32 that they
/// are multiplied by, the row's greatest magnitude / 127: no number is off by more than half of that. A row that holds
/// what is not finite is NaN as a whole. Any other memory takes its own dtype, and keeps it as it comes. Keys that the
/// score function projects (additive, concat) are kept in float32 whatever the dtype, values are not.
///
/// With options.page its sequences have pages, all from one pool, as many as they need. What attn_memory_reorder and
/// attn_memory_fork make of a sequence shares its pages, so that neither copies any, and a prefix that many have is kept
/// once, and read once where they follow each other; a page that is shared and appended to is copied first. What nobody
/// has any more is used again. The pool grows as a memory does; with ATTN_MEMORY_FIXED it has the pages for the capacity
/// of all sequences, whoever has how many of them, and forks live on the same ones. A call with it has the results of
/// attn_forward's pages.
///
/// A mechanism reads it (attn_forward_args.memory) from any number of threads; what changes it must not run beside any
/// other use of it. With pages an append must not run beside any use of its forks either, since it may move all pages;
/// they may be made, and given back, on any thread. Every function that fails leaves it as it was.
/// ```
#[repr(C)]
pub struct attn_memory {
    hidden: [u8; 0],
    marker: std::marker::PhantomData<(*mut u8, std::marker::PhantomPinned)>,
}

/// the capacity does not grow: appending past it is ATTN_ERR_BUFFER
pub const ATTN_MEMORY_FIXED: u32 = 1;

/// the keys are the values
pub const ATTN_MEMORY_KEYS_ALONE: u32 = 2;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct attn_memory_options {
    /// sizeof(attn_memory_options), set by ATTN_MEMORY_OPTIONS_INIT
    pub struct_size: u32,
    /// ATTN_MEMORY_
    pub flags: u32,
    /// that keys and values are kept in: ATTN_F32, _F64, _F16, _BF16, or ATTN_I8
    pub dtype: attn_dtype,
    /// 0
    pub reserved: i32,
    /// sequences, at least 1
    pub batch: i64,
    /// at least 1; 0: 1
    pub key_heads: i64,
    /// of keys as they come; 0 where no key is read (location)
    pub key_dim: i64,
    /// with ATTN_MEMORY_KEYS_ALONE: 0
    pub value_dim: i64,
    /// ```text
    /// positions of each sequence that there is room for from the beginning; when more are appended
    /// it at least doubles, unless it is fixed
    /// ```
    pub capacity: i64,
    /// ```text
    /// keys are turned by their positions as they are appended; `first` and `positions`
    /// are not looked at. Not where keys are values, nor where a projection would come
    /// after it (additive, concat). NULL: they are not
    /// ```
    pub rope: *const attn_rope_options,
    /// positions of a page, at least 1: see attn_memory. 0: each sequence lies by itself
    pub page: i64,
}

/// Zeros, which are the defaults, and the size.
impl Default for attn_memory_options {
    fn default() -> Self {
        Self { struct_size: std::mem::size_of::<Self>() as u32, ..unsafe { std::mem::zeroed() } }
    }
}

/// ```text
/// The arguments of attn_pages_append. A tensor of lower rank stands for one whose leading dimensions are 1. n rows of
/// Hk heads are written to some of N pages, which are as in attn_forward_args: strides say whether a page has its
/// positions or its heads outermost. Keys are ATTN_F32, _F64, _F16 or _BF16, values of the same type; pages of another
/// of these types get them rounded. Pages of ATTN_I8 are written as attn_memory writes them, with their scales, from any
/// type but ATTN_F64.
/// ```
#[repr(C)]
#[derive(Clone, Copy)]
pub struct attn_pages_append_args {
    /// sizeof(attn_pages_append_args), set by ATTN_PAGES_APPEND_ARGS_INIT
    pub struct_size: u32,
    /// 0
    pub reserved: i32,
    /// ```text
    /// [n], ATTN_I32 or ATTN_I64: row i is written to place slots[i] mod page of page
    /// slots[i] / page; -1: nowhere. No slot may be there twice
    /// ```
    pub slots: *const attn_tensor,
    /// ```text
    /// [1, Hk, n, Dk]; or NULL, with key_pages: there are no keys to be written
    /// ```
    pub key: *const attn_tensor,
    /// ```text
    /// [1, Hk, n, Dv]; or NULL, with value_pages, if there is a key
    /// ```
    pub value: *const attn_tensor,
    /// ```text
    /// out [N, Hk, page, Dk]
    /// ```
    pub key_pages: *const attn_tensor,
    /// ```text
    /// out [N, Hk, page, Dv]
    /// ```
    pub value_pages: *const attn_tensor,
    /// ```text
    /// out [N, Hk, page], ATTN_F32, where key_pages is ATTN_I8; else NULL
    /// ```
    pub key_scales: *const attn_tensor,
    /// likewise for value_pages
    pub value_scales: *const attn_tensor,
}

/// Zeros, which are the defaults, and the size.
impl Default for attn_pages_append_args {
    fn default() -> Self {
        Self { struct_size: std::mem::size_of::<Self>() as u32, ..unsafe { std::mem::zeroed() } }
    }
}

/// Which scores attn_forward_args.scores receives.
pub type attn_scores_stage = i32;

/// after scale
pub const ATTN_SCORES_RAW: attn_scores_stage = 0;

/// after softcap
pub const ATTN_SCORES_CAPPED: attn_scores_stage = 1;

/// after bias, and minus infinity where the key may not be seen
pub const ATTN_SCORES_MASKED: attn_scores_stage = 2;

/// after the normaliser: the weights
pub const ATTN_SCORES_WEIGHTS: attn_scores_stage = 3;

/// ```text
/// What the weights of a call say of themselves, made as they go by, without a tensor of them: where a model looks, how
/// widely, and which keys a cache could do without (Zhang 2023, section 4: those with the least sums over queries). All
/// of it is of the weights before dropout, as log-sum-exp is; each tensor is an output, or NULL.
///
///     entropy_i   = - sum_j a_ij log a_ij        in nats, 0 .. log Tk; its exp is the effective number of keys
///     strongest_i = the j of the greatest a_ij   the first of several that share it
///     key_sum_j   = sum_i a_ij                   over all queries of the call
///
/// A query that sees no key has entropy 0 and strongest -1 and adds nothing to a sum. One whose weights are NaN has
/// entropy NaN and strongest -1, and adds NaN to the sums of keys that it sees. Weights of hardmax have entropy 0. Those
/// of predictive local attention are taken as they multiply the values, but for the entropy, for which they are divided
/// by their sum.
/// ```
#[repr(C)]
#[derive(Clone, Copy)]
pub struct attn_weights_stats {
    /// sizeof(attn_weights_stats), set by ATTN_WEIGHTS_STATS_INIT
    pub struct_size: u32,
    /// 0
    pub reserved: i32,
    /// ```text
    /// [B, Hq, Tq], of the query's dtype
    /// ```
    pub entropy: *const attn_tensor,
    /// ```text
    /// [B, Hq, Tq], ATTN_I32 or ATTN_I64; ATTN_I32 where Tk is at most 2^31
    /// ```
    pub strongest: *const attn_tensor,
    /// ```text
    /// [B, Hq, Tk], of the query's dtype
    /// ```
    pub key_sums: *const attn_tensor,
}

/// Zeros, which are the defaults, and the size.
impl Default for attn_weights_stats {
    fn default() -> Self {
        Self { struct_size: std::mem::size_of::<Self>() as u32, ..unsafe { std::mem::zeroed() } }
    }
}

/// ```text
/// The arguments of attn_forward. B batch, Hq and Hk heads of query and of key (Hq a multiple of Hk; query head h uses
/// key head h / (Hq / Hk)), Tq and Tk lengths, Dq, Dk, Dv dimensions. A tensor of lower rank stands for one whose
/// leading dimensions are 1. query, key, value, bias, parameters and every output have one dtype, ATTN_F32 or ATTN_F64;
/// or query, key, value, bias and context are ATTN_F16, or all ATTN_BF16, the other outputs ATTN_F32, and each parameter
/// is of the one or of the other. key and value may be ATTN_I8 instead, each with its scales, unless query is ATTN_F64.
/// B, Tq, Tk and Dv may be 0. Sizes must agree exactly; to broadcast a query, key or value, give it a stride of 0.
/// ```
#[repr(C)]
#[derive(Clone, Copy)]
pub struct attn_forward_args {
    /// sizeof(attn_forward_args), set by ATTN_FORWARD_ARGS_INIT
    pub struct_size: u32,
    /// what scores receives
    pub scores_stage: attn_scores_stage,
    /// ```text
    /// [B, Hq, Tq, Dq]
    /// ```
    pub query: *const attn_tensor,
    /// ```text
    /// [B, Hk, Tk, Dk]
    /// ```
    pub key: *const attn_tensor,
    /// ```text
    /// [B, Hk, Tk, Dv]; NULL: the keys are the values
    /// ```
    pub value: *const attn_tensor,
    /// ```text
    /// ATTN_BOOL, true: may be seen; broadcasts to [B, Hq, Tq, Tk]. Or NULL
    /// ```
    pub mask: *const attn_tensor,
    /// ```text
    /// added to the scores; broadcasts to [B, Hq, Tq, Tk]. Or NULL
    /// ```
    pub bias: *const attn_tensor,
    /// ```text
    /// [B], ATTN_I32 or ATTN_I64, 0 .. Tk: the valid keys of each sequence. Or NULL
    /// ```
    pub key_lengths: *const attn_tensor,
    /// ```text
    /// position of query 0 for ATTN_ALIGN_TOP_LEFT, -2^60 .. 2^60: the keys already in a cache; 0
    /// where a modifier is aligned bottom-right
    /// ```
    pub query_start: i64,
    /// ```text
    /// out [B, Hq, Tq, Dv]; for a query of 16 bits it may be ATTN_F32, not rounded then,
    /// which gradients are more exact from
    /// ```
    pub context: *const attn_tensor,
    /// ```text
    /// out [B, Hq, Tq, Tk], or NULL
    /// ```
    pub weights: *const attn_tensor,
    /// ```text
    /// out [B, Hq, Tq, Tk], or NULL
    /// ```
    pub scores: *const attn_tensor,
    /// ```text
    /// out [B, Hq, Tq], natural logarithm of sum exp(e / tau), or NULL; for a float32
    /// query it may be ATTN_F64, which gradients are more exact from
    /// ```
    pub logsumexp: *const attn_tensor,
    /// scratch of the caller's, or NULL: the engine's allocator, for this call
    pub workspace: *mut c_void,
    /// bytes, at least what attn_forward_workspace says
    pub workspace_size: usize,
    /// ```text
    /// the probability, 0 <= dropout < 1, with which each weight becomes 0, others being
    /// divided by 1 - dropout; 0: none
    /// ```
    pub dropout: f64,
    /// which weights: see attn_forward
    pub dropout_seed: u64,
    /// which weights: see attn_forward
    pub dropout_offset: u64,
    /// ```text
    /// instead of key, value and key_lengths, which are NULL then: Tk is the greatest of its
    /// lengths. It must have been made for this mechanism. Aligned bottom-right, the last
    /// query stands at the last position of its sequence. Not in attn_backward
    /// ```
    pub memory: *const attn_memory,
    /// outputs too, or NULL
    pub stats: *const attn_weights_stats,
    /// ```text
    /// [B, Hk, Tk], ATTN_F32, where key is ATTN_I8: what each of its rows is to be
    /// multiplied by; else NULL. Not in attn_backward, nor where query is ATTN_F64
    /// ```
    pub key_scales: *const attn_tensor,
    /// likewise for value
    pub value_scales: *const attn_tensor,
    /// ```text
    /// A ragged batch, without padding: see attn_forward. [B + 1], ATTN_I32 or ATTN_I64, none less than the one before.
    /// Each of them, or both, or NULL:
    ///
    /// the queries of all sequences lie in one row of them, and B is this tensor's to
    /// say: Tq is how many rows there are in all, and B is 1 in the shapes of query,
    /// context, logsumexp, weights, scores, entropy and strongest
    /// ```
    pub query_offsets: *const attn_tensor,
    /// ```text
    /// likewise the keys: B is 1 and Tk the rows in all in the shapes of key, value,
    /// scales and key_sums; elsewhere Tk is at least the keys of the longest sequence.
    /// NULL with a memory
    /// ```
    pub key_offsets: *const attn_tensor,
    /// ```text
    /// ATTN_ALIGN_BOTTOM_RIGHT: mask is [.., n] in place of [.., Tk], of the last n
    /// keys of each sequence, those before them being visible: a tree of guesses.
    /// 0: of all
    /// ```
    pub mask_align: attn_align,
    /// 0
    pub reserved: i32,
    /// ```text
    /// Keys and values in pages: see attn_forward. Or NULL:
    ///
    /// [B, most], or with page_offsets [all], ATTN_I32 or ATTN_I64: the pages of each
    /// sequence in order. key is [N, Hk, page, Dk] then, value and scales likewise: N
    /// pages of so many positions, in place of B sequences of Tk. There are key_lengths
    /// and no key_offsets; elsewhere Tk is at least the longest of them
    /// ```
    pub page_table: *const attn_tensor,
    /// ```text
    /// [B + 1], as query_offsets: the entries of page_table that are sequence b's
    /// ```
    pub page_offsets: *const attn_tensor,
}

/// Zeros, which are the defaults, and the size.
impl Default for attn_forward_args {
    fn default() -> Self {
        Self { struct_size: std::mem::size_of::<Self>() as u32, ..unsafe { std::mem::zeroed() } }
    }
}

/// ```text
/// A call of attn_forward made ready, for programs that make it again and again with other numbers: the steps of a
/// decoder, the layers of a model. What is told of shapes, strides, types, modifiers and outputs is checked and cut into
/// work once, and scratch is the plan's own; what a run does is arithmetic. Its bits are those of attn_forward.
///
/// Threads: one at a time runs a plan, a second one is refused, ATTN_ERR_ARGUMENT; different plans run side by side, of
/// one mechanism too. A plan keeps its mechanism alive.
/// ```
#[repr(C)]
pub struct attn_plan {
    hidden: [u8; 0],
    marker: std::marker::PhantomData<(*mut u8, std::marker::PhantomPinned)>,
}

/// ```text
/// The arguments of both functions below: T rows in each of any leading dimensions, Dv the dimensions of the context,
/// Dq those of the query, H those of what comes out; any of them may be 0. All of one dtype, ATTN_F32, ATTN_F64,
/// ATTN_F16 or ATTN_BF16; but with one of 16 bits, which are as in attn_forward, each of weight, bias, d_weight and
/// d_bias may be ATTN_F32. A tensor of lower rank stands for one whose leading dimensions are 1.
/// ```
#[repr(C)]
#[derive(Clone, Copy)]
pub struct attn_attentional_args {
    /// sizeof(attn_attentional_args), set by ATTN_ATTENTIONAL_ARGS_INIT
    pub struct_size: u32,
    /// of backward. 0: gradients out are overwritten; 1: they are added to
    pub accumulate: i32,
    /// ```text
    /// W_c [H, Dv + Dq]: the context's columns come first
    /// ```
    pub weight: *const attn_tensor,
    /// ```text
    /// [H], or NULL: none, as in the paper
    /// ```
    pub bias: *const attn_tensor,
    /// ```text
    /// [.., T, Dv]
    /// ```
    pub context: *const attn_tensor,
    /// ```text
    /// [.., T, Dq]: the decoder's state
    /// ```
    pub query: *const attn_tensor,
    /// ```text
    /// [.., T, H]: out of forward, in of backward
    /// ```
    pub output: *const attn_tensor,
    /// ```text
    /// in of backward [.., T, H]
    /// ```
    pub d_output: *const attn_tensor,
    /// ```text
    /// out of backward [H, Dv + Dq], or NULL: not wanted. So all that follow
    /// ```
    pub d_weight: *const attn_tensor,
    /// ```text
    /// [H]; NULL where there is no bias
    /// ```
    pub d_bias: *const attn_tensor,
    /// ```text
    /// [.., T, Dv]
    /// ```
    pub d_context: *const attn_tensor,
    /// ```text
    /// [.., T, Dq]
    /// ```
    pub d_query: *const attn_tensor,
}

/// Zeros, which are the defaults, and the size.
impl Default for attn_attentional_args {
    fn default() -> Self {
        Self { struct_size: std::mem::size_of::<Self>() as u32, ..unsafe { std::mem::zeroed() } }
    }
}

/// ```text
/// The arguments of attn_backward: those of the forward call, the gradients that flow in, the gradients that are wanted.
/// A gradient has the shape of what it is the gradient of, as that was given (d_bias that of the bias, dimensions of 1
/// included: it is summed over what they are broadcast to), and its dtype; that of a parameter any dtype that a
/// parameter may have, whichever it has. A query, key or value with a stride of 0 is taken for the tensor of its shape:
/// its gradient is not summed.
/// ```
#[repr(C)]
#[derive(Clone, Copy)]
pub struct attn_backward_args {
    /// sizeof(attn_backward_args), set by ATTN_BACKWARD_ARGS_INIT
    pub struct_size: u32,
    /// 0: gradients out are overwritten; 1: they are added to
    pub accumulate: i32,
    /// ```text
    /// of the call: its inputs as they were, and the context and logsumexp that it
    /// wrote; weights, scores and workspace are not looked at
    /// ```
    pub forward: *const attn_forward_args,
    /// ```text
    /// in [B, Hq, Tq, Dv], or NULL
    /// ```
    pub d_context: *const attn_tensor,
    /// ```text
    /// in [B, Hq, Tq, Tk]: of a loss that looks at the weights. Or NULL
    /// ```
    pub d_weights: *const attn_tensor,
    /// ```text
    /// in [B, Hq, Tq], or NULL
    /// ```
    pub d_logsumexp: *const attn_tensor,
    /// ```text
    /// out [B, Hq, Tq, Dq], or NULL: not wanted. So all that follow
    /// ```
    pub d_query: *const attn_tensor,
    /// ```text
    /// out [B, Hk, Tk, Dk]; where the keys are the values, of both together
    /// ```
    pub d_key: *const attn_tensor,
    /// ```text
    /// out [B, Hk, Tk, Dv]; NULL where the keys are the values
    /// ```
    pub d_value: *const attn_tensor,
    /// out, of the bias's shape
    pub d_bias: *const attn_tensor,
    /// ```text
    /// out [Hq], of the ALiBi slopes
    /// ```
    pub d_alibi: *const attn_tensor,
    /// out, of the table of relative biases
    pub d_relative: *const attn_tensor,
    /// ```text
    /// out: a pointer for each parameter, in the order of attn_mechanism_param_info,
    /// NULL for one that is not wanted. Or NULL: none is
    /// ```
    pub d_params: *const *const attn_tensor,
    /// as in attn_forward_args; at least what attn_backward_workspace says
    pub workspace: *mut c_void,
    pub workspace_size: usize,
    /// ```text
    /// out [Hq], of the sinks, from d_context and d_logsumexp; beside d_weights it is
    /// ATTN_ERR_UNSUPPORTED
    /// ```
    pub d_sinks: *const attn_tensor,
}

/// Zeros, which are the defaults, and the size.
impl Default for attn_backward_args {
    fn default() -> Self {
        Self { struct_size: std::mem::size_of::<Self>() as u32, ..unsafe { std::mem::zeroed() } }
    }
}

/// ```text
/// The arguments of attn_merge. A tensor of lower rank stands for one whose leading dimensions are 1; B, Hq, Tq and Dv
/// may be 0. Sizes must agree exactly; to broadcast a part, give it a stride of 0.
/// ```
#[repr(C)]
#[derive(Clone, Copy)]
pub struct attn_merge_args {
    /// sizeof(attn_merge_args), set by ATTN_MERGE_ARGS_INIT
    pub struct_size: u32,
    /// 0
    pub reserved: i32,
    /// how many there are, at least 1
    pub parts: i64,
    /// ```text
    /// a pointer for each part: what attn_forward made of its keys [B, Hq, Tq, Dv],
    /// ATTN_F32, ATTN_F16 or ATTN_BF16, in any mixture; or all are ATTN_F64
    /// ```
    pub contexts: *const *const attn_tensor,
    /// ```text
    /// a pointer for each part: the log-sum-exps of the same call [B, Hq, Tq],
    /// ATTN_F32 or ATTN_F64, each whichever it likes
    /// ```
    pub logsumexps: *const *const attn_tensor,
    /// ```text
    /// out [B, Hq, Tq, Dv], of any type that parts may have; ATTN_F64 where, and
    /// only where, they are
    /// ```
    pub context: *const attn_tensor,
    /// ```text
    /// out [B, Hq, Tq], ATTN_F32 or ATTN_F64; or NULL
    /// ```
    pub logsumexp: *const attn_tensor,
}

/// Zeros, which are the defaults, and the size.
impl Default for attn_merge_args {
    fn default() -> Self {
        Self { struct_size: std::mem::size_of::<Self>() as u32, ..unsafe { std::mem::zeroed() } }
    }
}

/// ```text
/// The attend stage of decomposable attention (Parikh 2016, section 3.1), both ways from one pass over the scores
/// e_ij = f_i . g_j of the projected sentences F(a) and F(b), which the caller makes:
///
///     beta_i  = sum_j b_j exp(e_ij) / sum_j' exp(e_ij')       what in b is aligned with a_i
///     alpha_j = sum_i a_i exp(e_ij) / sum_i' exp(e_i'j)       what in a is aligned with b_j
///
/// B sequences, H heads (usually 1), lengths Ta and Tb. B, Ta, Tb, Da and Db may be 0. A tensor of lower rank stands for
/// one whose leading dimensions are 1. All tensors have one dtype, ATTN_F32, ATTN_F64, ATTN_F16 or ATTN_BF16, but with
/// one of 16 bits, which are as in attn_forward, the log-sum-exps are ATTN_F32; and agree exactly in size; to broadcast
/// an input, give it a stride of 0. One struct serves both directions: what only the other looks at may be set all the
/// same.
/// ```
#[repr(C)]
#[derive(Clone, Copy)]
pub struct attn_decomposable_args {
    /// sizeof(attn_decomposable_args), set by ATTN_DECOMPOSABLE_ARGS_INIT
    pub struct_size: u32,
    /// backward: as in attn_backward_args
    pub accumulate: i32,
    /// ```text
    /// F(a) [B, H, Ta, D]
    /// ```
    pub f: *const attn_tensor,
    /// ```text
    /// F(b) [B, H, Tb, D]
    /// ```
    pub g: *const attn_tensor,
    /// ```text
    /// [B, H, Ta, Da]; NULL: f
    /// ```
    pub a: *const attn_tensor,
    /// ```text
    /// [B, H, Tb, Db]; NULL: g
    /// ```
    pub b: *const attn_tensor,
    /// ```text
    /// [B], ATTN_I32 or ATTN_I64: the valid rows of each a; or NULL
    /// ```
    pub a_lengths: *const attn_tensor,
    /// likewise of b
    pub b_lengths: *const attn_tensor,
    /// ```text
    /// forward: out; backward: in, as it was [B, H, Ta, Db]; 0 past a's length
    /// ```
    pub beta: *const attn_tensor,
    /// ```text
    /// likewise [B, H, Tb, Da]; 0 past b's length
    /// ```
    pub alpha: *const attn_tensor,
    /// ```text
    /// likewise [B, H, Ta]: log sum_j exp(e_ij); minus infinity past a's length, or
    /// where b is empty. Forward: may be NULL
    /// ```
    pub a_logsumexp: *const attn_tensor,
    /// ```text
    /// likewise [B, H, Tb]: log sum_i exp(e_ij)
    /// ```
    pub b_logsumexp: *const attn_tensor,
    /// ```text
    /// backward: in [B, H, Ta, Db], or NULL
    /// ```
    pub d_beta: *const attn_tensor,
    /// ```text
    /// backward: in [B, H, Tb, Da], or NULL
    /// ```
    pub d_alpha: *const attn_tensor,
    /// backward: out, of the shape of f, or NULL: not wanted; so all that follow.
    pub d_f: *const attn_tensor,
    /// Where a is f, d_f is of both together, where b is g, d_g
    pub d_g: *const attn_tensor,
    /// NULL where a is f
    pub d_a: *const attn_tensor,
    /// NULL where b is g
    pub d_b: *const attn_tensor,
}

/// Zeros, which are the defaults, and the size.
impl Default for attn_decomposable_args {
    fn default() -> Self {
        Self { struct_size: std::mem::size_of::<Self>() as u32, ..unsafe { std::mem::zeroed() } }
    }
}

/// ```text
/// Projections around a mechanism (Vaswani 2017, section 3.2.2): queries, keys and values are projected and cut into
/// heads that attend by themselves; the heads' contexts are joined and projected once more:
///
///     q = x W_q^T + b_q,  k = y W_k^T + b_k,  v = z W_v^T + b_v,  output = concat(heads) W_o^T + b_o
///
/// with x the queries, y the keys, z the values; self-attention is x = y = z. Each W is [outputs, inputs], head h being
/// rows h head_dim and on, as the weights of linear layers are stored elsewhere. Thread rules are a mechanism's.
/// ```
#[repr(C)]
pub struct attn_multihead {
    hidden: [u8; 0],
    marker: std::marker::PhantomData<(*mut u8, std::marker::PhantomPinned)>,
}

/// b_q, b_k, b_v and b_o
pub const ATTN_MULTIHEAD_BIAS: u32 = 1;

/// ```text
/// W_q, W_k, W_v as one parameter W_qkv, below each other, and b_qkv likewise; query_dim,
/// key_dim and value_dim must be equal
/// ```
pub const ATTN_MULTIHEAD_PACKED: u32 = 2;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct attn_multihead_options {
    /// sizeof(attn_multihead_options), set by ATTN_MULTIHEAD_OPTIONS_INIT
    pub struct_size: u32,
    /// ATTN_MULTIHEAD_
    pub flags: u32,
    /// Hq, at least 1
    pub query_heads: i64,
    /// Hk, divides Hq (grouped heads: Ainslie 2023); 0: Hq
    pub key_heads: i64,
    /// of x
    pub query_dim: i64,
    /// of y; 0: query_dim
    pub key_dim: i64,
    /// of z; 0: key_dim
    pub value_dim: i64,
    /// of a projected query and key; 0: query_dim / Hq, which must be whole
    pub head_dim: i64,
    /// of a projected value; 0: head_dim
    pub value_head_dim: i64,
    /// 0: query_dim
    pub output_dim: i64,
    /// ```text
    /// projected queries and keys are turned by their positions (Su 2021), as attn_rope
    /// does; `first` and `positions` are not looked at. NULL: they are not
    /// ```
    pub rope: *const attn_rope_options,
}

/// Zeros, which are the defaults, and the size.
impl Default for attn_multihead_options {
    fn default() -> Self {
        Self { struct_size: std::mem::size_of::<Self>() as u32, ..unsafe { std::mem::zeroed() } }
    }
}

/// ```text
/// The arguments of attn_multihead_forward. Missing leading dimensions of x, y, z and the output are 1. All but mask and
/// key_lengths have the query's dtype, ATTN_F32 or ATTN_F64; or x, y, z, bias and output are ATTN_F16, or all ATTN_BF16,
/// the outputs in `attention` ATTN_F32, and each parameter of layer and mechanism is of the one or of the other. B, Tq
/// and Tk may be 0.
/// ```
#[repr(C)]
#[derive(Clone, Copy)]
pub struct attn_multihead_args {
    /// sizeof(attn_multihead_args), set by ATTN_MULTIHEAD_ARGS_INIT
    pub struct_size: u32,
    /// ```text
    /// 1, with a memory: nothing is projected to keys and values nor appended, and
    /// key and value are NULL
    /// ```
    pub attend_only: i32,
    /// ```text
    /// x [B, Tq, query_dim]
    /// ```
    pub query: *const attn_tensor,
    /// ```text
    /// y [B, Tk, key_dim]; NULL: the queries (self-attention)
    /// ```
    pub key: *const attn_tensor,
    /// ```text
    /// z [B, Tk, value_dim]; NULL: the keys
    /// ```
    pub value: *const attn_tensor,
    /// ```text
    /// mask, bias, key_lengths, query_start, and the outputs weights, scores,
    /// logsumexp and stats, all of the heads; its query, key, value and context are
    /// NULL, its workspace is not looked at. Or NULL
    /// ```
    pub attention: *const attn_forward_args,
    /// ```text
    /// out [B, Tq, output_dim]
    /// ```
    pub output: *const attn_tensor,
    /// ```text
    /// what attn_multihead_backward will read, for the caller to keep, at any
    /// alignment; or NULL
    /// ```
    pub saved: *mut c_void,
    /// bytes, at least what attn_multihead_saved says
    pub saved_size: usize,
    /// as in attn_forward_args
    pub workspace: *mut c_void,
    pub workspace_size: usize,
    /// ```text
    /// keys and values of the heads that there are already: those that the call projects
    /// are appended, then all of them attended to. Or NULL
    /// ```
    pub memory: *mut attn_memory,
    /// ```text
    /// Where the layer turns: the positions of x's rows and of y's, [B, T], or [T] for all sequences, of a ragged batch
    /// [rows]; ATTN_I32 or ATTN_I64. NULL: see attn_multihead_forward
    /// ```
    pub positions: *const attn_tensor,
    /// NULL in self-attention, where `positions` are the keys', too
    pub key_positions: *const attn_tensor,
}

/// Zeros, which are the defaults, and the size.
impl Default for attn_multihead_args {
    fn default() -> Self {
        Self { struct_size: std::mem::size_of::<Self>() as u32, ..unsafe { std::mem::zeroed() } }
    }
}

/// ```text
/// The arguments of attn_multihead_backward: those of the forward call, the gradients that flow in (at least one), the
/// gradients that are wanted, each of the shape of what it is the gradient of; dtypes are as in attn_backward_args.
/// ```
#[repr(C)]
#[derive(Clone, Copy)]
pub struct attn_multihead_backward_args {
    /// sizeof(attn_multihead_backward_args), set by the macro below
    pub struct_size: u32,
    /// as in attn_backward_args
    pub accumulate: i32,
    /// ```text
    /// of the call: its inputs as they were, with `saved` as it left it, or NULL:
    /// then that is computed again; its outputs and workspace are not looked at
    /// ```
    pub forward: *const attn_multihead_args,
    /// ```text
    /// in [B, Tq, output_dim], or NULL
    /// ```
    pub d_output: *const attn_tensor,
    /// ```text
    /// in [B, Hq, Tq, Tk], of a loss that looks at the weights. Or NULL
    /// ```
    pub d_weights: *const attn_tensor,
    /// ```text
    /// in [B, Hq, Tq], likewise. Or NULL
    /// ```
    pub d_logsumexp: *const attn_tensor,
    /// ```text
    /// out, of x and of all that it stands for: in self-attention of all three
    /// together. NULL: not wanted. So all that follow
    /// ```
    pub d_query: *const attn_tensor,
    /// out, of y, and of z where the keys are the values; NULL in self-attention
    pub d_key: *const attn_tensor,
    /// out, of z; NULL where the keys are the values
    pub d_value: *const attn_tensor,
    /// out, of attention->bias
    pub d_bias: *const attn_tensor,
    /// out, of the mechanism's slopes, as in attn_backward_args; so too:
    pub d_alibi: *const attn_tensor,
    pub d_relative: *const attn_tensor,
    /// out, as in attn_backward_args, of the layer's parameters
    pub d_params: *const *const attn_tensor,
    /// out, likewise of the mechanism's
    pub d_mechanism_params: *const *const attn_tensor,
    /// as in attn_forward_args
    pub workspace: *mut c_void,
    pub workspace_size: usize,
    /// out, of the mechanism's sinks, as in attn_backward_args
    pub d_sinks: *const attn_tensor,
}

/// Zeros, which are the defaults, and the size.
impl Default for attn_multihead_backward_args {
    fn default() -> Self {
        Self { struct_size: std::mem::size_of::<Self>() as u32, ..unsafe { std::mem::zeroed() } }
    }
}

extern "C" {
    /// The version of the library that is loaded, as "major.minor.patch". A static string. Since 0.1.
    pub fn attn_version() -> *const c_char;

    /// The library's ATTN_ABI_VERSION. A program that finds another one than its own must not go on. Since 0.1.
    pub fn attn_abi_version() -> i32;

    /// ```text
    /// The name of a status ("ATTN_ERR_SHAPE") and what it means, for example "ATTN_ERR_SHAPE: ranks or dimensions do not
    /// fit together". Never NULL: an unknown number has a sentence too. A static string. Since 0.1.
    /// ```
    pub fn attn_status_string(status: attn_status) -> *const c_char;

    /// ```text
    /// The calling thread's last failure, in words: the function, the argument, what was got, what was wanted. Empty when
    /// nothing has failed on this thread. Belongs to the library and is valid until the thread's next failing call; a
    /// call that succeeds leaves it alone. Since 0.1.
    /// ```
    pub fn attn_last_error() -> *const c_char;

    /// ```text
    /// The value of any ATTN_ constant of this header, or the size of a struct as this library knows it
    /// ("sizeof attn_forward_args"), by name: for languages that load the library without its header.
    /// ATTN_ERR_ARGUMENT: no such name, or a NULL. Since 0.1.
    /// ```
    pub fn attn_constant(name: *const c_char, value: *mut i64) -> attn_status;

    /// ```text
    /// Fills *tensor with a view of contiguous row-major data of the given shape (ndim entries, 1 to 4 of them). data may be
    /// NULL, to be set before the tensor is used: a shape can be checked before memory for it is found.
    /// ATTN_ERR_ARGUMENT: a NULL tensor or shape, misaligned data. ATTN_ERR_DTYPE, ATTN_ERR_SHAPE, ATTN_ERR_OVERFLOW: as
    /// their names say. Since 0.1.
    /// ```
    pub fn attn_tensor_init(
        tensor: *mut attn_tensor,
        data: *mut c_void,
        dtype: attn_dtype,
        ndim: i32,
        shape: *const i64,
    ) -> attn_status;

    /// ```text
    /// Creates an engine; options NULL means all defaults. Its threads start when they are first needed.
    /// ATTN_ERR_ARGUMENT: a NULL engine, a value out of range, an unknown word in ATTN_WAY. ATTN_ERR_STRUCT_SIZE.
    /// ATTN_ERR_UNSUPPORTED: kernels that this build or CPU has not, also by ATTN_KERNELS. ATTN_ERR_BACKEND: the BLAS that
    /// was loaded takes 64-bit integers where this library passes 32-bit ones. ATTN_ERR_NOMEM. Since 0.1.
    /// ```
    pub fn attn_engine_create(
        options: *const attn_engine_options,
        engine: *mut *mut attn_engine,
    ) -> attn_status;

    /// Gives the engine back; NULL is fine. See attn_engine for mechanisms that still use it. Since 0.1.
    pub fn attn_engine_destroy(engine: *mut attn_engine);

    /// ```text
    /// Describes the engine as a JSON object: library version, way ("tiles" or "blas"), what makes the products with
    /// parameters of float32 ("own" or "blas"), threads, kernels, what ATTN_PRECISION_FAST does with "bf16" and with "i8"
    /// (the name of an instruction, or "exact"), CPU and its features, the BLAS with its core and threading, and whether
    /// that BLAS suits this CPU. On entry *bytes is the room in json, on return what the text needs with its final NUL; json
    /// may be NULL to ask for that only. ATTN_ERR_BUFFER: it did not fit, and json is untouched. ATTN_ERR_ARGUMENT: a NULL.
    /// Since 0.1.
    /// ```
    pub fn attn_engine_describe(
        engine: *const attn_engine,
        json: *mut c_char,
        bytes: *mut usize,
    ) -> attn_status;

    /// ```text
    /// e = q.k                                   (Luong 2015, eq. 8, dot). No parameters; Dq = Dk.
    /// Every create function: ATTN_ERR_ARGUMENT for a NULL or a dimension below 1, ATTN_ERR_OVERFLOW for parameters that
    /// cannot be addressed, ATTN_ERR_NOMEM. Since 0.1, all of them.
    /// ```
    pub fn attn_mechanism_create_dot(
        engine: *mut attn_engine,
        mechanism: *mut *mut attn_mechanism,
    ) -> attn_status;

    /// e = q.k / sqrt(Dk)                        (Vaswani 2017, eq. 1). No parameters; Dq = Dk.
    pub fn attn_mechanism_create_scaled_dot(
        engine: *mut attn_engine,
        mechanism: *mut *mut attn_mechanism,
    ) -> attn_status;

    /// ```text
    /// e = q^T W k                               (Luong 2015, eq. 8, general). W [Dq, Dk].
    /// ```
    pub fn attn_mechanism_create_general(
        engine: *mut attn_engine,
        query_dim: i64,
        key_dim: i64,
        mechanism: *mut *mut attn_mechanism,
    ) -> attn_status;

    /// ```text
    /// e = v^T tanh(W q + U k + b)               (Bahdanau 2014, appendix A.1.2).
    /// W [A, Dq], U [A, Dk], v [A], A = hidden_dim; with the flags above b [A], g [1], or no W, or no U. An input that
    /// comes projected must have query_dim (or key_dim) equal to hidden_dim, else ATTN_ERR_SHAPE.
    /// ```
    pub fn attn_mechanism_create_additive(
        engine: *mut attn_engine,
        query_dim: i64,
        key_dim: i64,
        hidden_dim: i64,
        flags: u32,
        mechanism: *mut *mut attn_mechanism,
    ) -> attn_status;

    /// ```text
    /// e = v^T tanh(W [q; k])                    (Luong 2015, eq. 8, concat). W [A, Dq + Dk], v [A], A = hidden_dim.
    /// ```
    pub fn attn_mechanism_create_concat(
        engine: *mut attn_engine,
        query_dim: i64,
        key_dim: i64,
        hidden_dim: i64,
        mechanism: *mut *mut attn_mechanism,
    ) -> attn_status;

    /// ```text
    /// e_ij = (W q_i)_j                          (Luong 2015, eq. 9, location). W [max_keys, Dq]; at most max_keys keys.
    /// No key is read: attn_forward_args.key may be left out when there is a value.
    /// ```
    pub fn attn_mechanism_create_location(
        engine: *mut attn_engine,
        query_dim: i64,
        max_keys: i64,
        mechanism: *mut *mut attn_mechanism,
    ) -> attn_status;

    /// ```text
    /// Gives the mechanism back; NULL is fine. Memories and layers keep theirs alive: it is then destroyed with the last of
    /// them, and what is bound to it stays borrowed until then. Since 0.1.
    /// ```
    pub fn attn_mechanism_destroy(mechanism: *mut attn_mechanism);

    /// ```text
    /// The score function's name: "dot", "scaled-dot", "general", "additive", "concat", "location". A static string; NULL
    /// for NULL. Since 0.1.
    /// ```
    pub fn attn_mechanism_name(mechanism: *const attn_mechanism) -> *const c_char;

    /// ```text
    /// The number of parameter tensors; and the number of trainable numbers in them, for example A (Dq + Dk + 1) for
    /// additive. ATTN_ERR_ARGUMENT: a NULL. Since 0.1.
    /// ```
    pub fn attn_mechanism_param_count(
        mechanism: *const attn_mechanism,
        count: *mut i32,
    ) -> attn_status;

    pub fn attn_mechanism_param_total(
        mechanism: *const attn_mechanism,
        total: *mut i64,
    ) -> attn_status;

    /// ```text
    /// Tells of parameter index, 0 .. count - 1. ATTN_ERR_ARGUMENT: a NULL or no such index. ATTN_ERR_STRUCT_SIZE.
    /// Since 0.1.
    /// ```
    pub fn attn_mechanism_param_info(
        mechanism: *const attn_mechanism,
        index: i32,
        info: *mut attn_param_info,
    ) -> attn_status;

    /// ```text
    /// Binds a tensor of exactly the parameter's shape, of the dtype of the query it will meet; where that is ATTN_F16 or
    /// ATTN_BF16, it may be ATTN_F32, too. The view is copied, the data is borrowed until it is bound anew or the mechanism
    /// is destroyed: training may update it in place between calls. A NULL tensor unbinds. ATTN_ERR_PARAMETER: no such name.
    /// ATTN_ERR_SHAPE, ATTN_ERR_DTYPE, ATTN_ERR_OVERFLOW, ATTN_ERR_ARGUMENT. Since 0.1.
    /// ```
    pub fn attn_mechanism_bind_param(
        mechanism: *mut attn_mechanism,
        name: *const c_char,
        tensor: *const attn_tensor,
    ) -> attn_status;

    /// ```text
    /// Modifiers, in the order in which they apply (that of ONNX Attention, opset 23 to 25):
    /// scale, softcap, then bias (attn_forward_args.bias and ALiBi), then what may not be seen (mask, key lengths, causal,
    /// window), then the normaliser at its temperature. Each set function replaces what was set before; a refused one
    /// changes nothing. ATTN_ERR_ARGUMENT: a NULL or a value out of range. Since 0.1, all of them.
    ///
    /// Multiplies the score. Any finite number; the default is 1, for scaled dot 1 / sqrt(Dk).
    /// ```
    pub fn attn_mechanism_set_scale(mechanism: *mut attn_mechanism, scale: f64) -> attn_status;

    /// e = cap tanh(e / cap), cap > 0; 0 takes it away.
    pub fn attn_mechanism_set_softcap(mechanism: *mut attn_mechanism, cap: f64) -> attn_status;

    /// Softmax of e / tau, tau > 0; the default is 1.
    pub fn attn_mechanism_set_temperature(mechanism: *mut attn_mechanism, tau: f64) -> attn_status;

    pub fn attn_mechanism_set_normaliser(
        mechanism: *mut attn_mechanism,
        normaliser: attn_normaliser,
    ) -> attn_status;

    pub fn attn_mechanism_set_precision(
        mechanism: *mut attn_mechanism,
        precision: attn_precision,
    ) -> attn_status;

    /// ```text
    /// Query i sees key j only if j <= position.
    /// ```
    pub fn attn_mechanism_set_causal(
        mechanism: *mut attn_mechanism,
        align: attn_align,
    ) -> attn_status;

    /// ```text
    /// Query i sees key j only if position - left <= j <= position + right; -1 is unbounded, so left = 2, right = 0 sees
    /// 3 keys.
    /// ```
    pub fn attn_mechanism_set_window(
        mechanism: *mut attn_mechanism,
        left: i64,
        right: i64,
        align: attn_align,
    ) -> attn_status;

    /// ATTN_ERR_SHAPE, ATTN_ERR_DTYPE, ATTN_ERR_OVERFLOW too. With ATTN_RELATIVE_NONE table may be NULL.
    pub fn attn_mechanism_set_relative_bias(
        mechanism: *mut attn_mechanism,
        table: *const attn_tensor,
        relative: attn_relative,
        max_distance: i64,
        align: attn_align,
    ) -> attn_status;

    /// ```text
    /// half_width: D, 10 in the paper; at least 0, or 1 where it is predictive. query_dim, hidden_dim: of W_p; 0 where there
    /// is none. Parameters that were bound to another such choice are forgotten. ATTN_ERR_OVERFLOW too.
    /// ```
    pub fn attn_mechanism_set_local(
        mechanism: *mut attn_mechanism,
        local: attn_local,
        half_width: i64,
        query_dim: i64,
        hidden_dim: i64,
    ) -> attn_status;

    /// ```text
    /// Adds -slope |position - j| (Press 2022). slopes [Hq], one per query head, of the dtype that the query is computed in;
    /// borrowed as a parameter is. ATTN_ERR_SHAPE, ATTN_ERR_DTYPE, ATTN_ERR_OVERFLOW too. With ATTN_ALIGN_NONE slopes may be
    /// NULL.
    /// ```
    pub fn attn_mechanism_set_alibi(
        mechanism: *mut attn_mechanism,
        slopes: *const attn_tensor,
        align: attn_align,
    ) -> attn_status;

    /// ```text
    /// Adds a sink to the softmax of each query: a logit of its head that has no key and no value, so that weights may add
    /// up to less than 1 (Xiao 2023; gpt-oss; Miller's "softmax plus one" is a sink of 0). It is a score like those of keys
    /// once these are modified: neither scaled nor capped, divided by the temperature, in the greatest and in the sum. So
    ///
    ///     a_ij = exp(e_ij / tau) / (exp(sink_h / tau) + sum_j' exp(e_ij' / tau))
    ///
    /// as if a column were appended before the softmax and dropped after it. The log-sum-exp has it, too: of a query that
    /// sees no key it is sink / tau, and the context 0. Entropies and strongest keys of attn_weights_stats are of the keys
    /// alone. sinks [Hq], of any dtype that a parameter may have; borrowed as a parameter is. NULL takes it away. A call
    /// with it by hardmax: ATTN_ERR_UNSUPPORTED. ATTN_ERR_SHAPE, ATTN_ERR_DTYPE, ATTN_ERR_OVERFLOW too.
    /// ```
    pub fn attn_mechanism_set_sinks(
        mechanism: *mut attn_mechanism,
        sinks: *const attn_tensor,
    ) -> attn_status;

    /// ```text
    /// What tells a model where a token stands, where no ALiBi and no mask does. A position is a whole number from -2^53 to
    /// 2^53. Angles, sines and cosines are computed in float64 and then rounded: an angle is wrong by its own size times
    /// 2^-52 or so, which in float32 is nothing, even for position 10^6. A base lies from 1e-100 to 1e100.
    ///
    /// Fills table [T, D] with the sinusoids of positions first .. first + T - 1 (Vaswani 2017, section 3.5):
    ///
    ///     table[t][2i] = sin((first + t) / base^(2i/D))     table[t][2i + 1] = cos((first + t) / base^(2i/D))
    ///
    /// ATTN_F32 or ATTN_F64; D even or odd: the last element of an odd row is a sine. base is 10000 in the paper.
    /// ATTN_ERR_ARGUMENT: a NULL, a base or a position out of range. ATTN_ERR_SHAPE, ATTN_ERR_DTYPE, ATTN_ERR_OVERLAP,
    /// ATTN_ERR_OVERFLOW: as their names say. Thread safety: re-entrant. Since 0.1.
    /// ```
    pub fn attn_position_sinusoidal(
        table: *const attn_tensor,
        first: i64,
        base: f64,
    ) -> attn_status;

    /// ```text
    /// Fills slopes [H], ATTN_F32 or ATTN_F64, for attn_mechanism_set_alibi (Press 2022): head h = 1 .. H has 2^(-8h/H)
    /// where H is a power of two. Otherwise, as in the paper's released code, the slopes of the next lower power of two come
    /// first, then every other one (the first, the third, ...) of the next higher.
    /// ATTN_ERR_ARGUMENT: a NULL. ATTN_ERR_SHAPE, ATTN_ERR_DTYPE, ATTN_ERR_OVERLAP, ATTN_ERR_OVERFLOW. Thread safety:
    /// re-entrant. Since 0.1.
    /// ```
    pub fn attn_position_alibi_slopes(slopes: *const attn_tensor) -> attn_status;

    /// ```text
    /// Rotary positions (Su 2021, section 3.4): to is from with pair i of the row at position p turned by the angle
    /// p base^(-2i/n):
    ///
    ///     to_a = from_a cos - from_b sin     to_b = from_b cos + from_a sin
    ///
    /// The product of a query at position m and a key at position n then depends on m - n alone. What lies past
    /// options->dimensions is copied. from and to are [B, H, T, D], of one dtype, ATTN_F32, ATTN_F64, ATTN_F16 or ATTN_BF16;
    /// a tensor of lower rank stands for one whose leading dimensions are 1. to may be the very same view as from (rotated
    /// in place), else it must not share memory with it; nor with positions. Numbers of 16 bits are as in attn_forward.
    ///
    /// The gradient by from is that by to, turned back: the same call with inverse = 1.
    ///
    /// Memory beside the arguments is 8 bytes for each pair of one row and at most 16 KB for each thread, 8 KB more for
    /// numbers of 16 bits, asked for once, and not where it is at most 16 KB. The result has the same bits for any number of
    /// engine threads, and a row the same at a position that is counted from first and at one that is given.
    ///
    /// ATTN_ERR_ARGUMENT: a NULL, no layout, an option or a position out of range. ATTN_ERR_STRUCT_SIZE, ATTN_ERR_SHAPE,
    /// ATTN_ERR_DTYPE, ATTN_ERR_OVERLAP, ATTN_ERR_OVERFLOW, ATTN_ERR_NOMEM. Thread safety: re-entrant. Since 0.1.
    /// ```
    pub fn attn_rope(
        engine: *mut attn_engine,
        options: *const attn_rope_options,
        from: *const attn_tensor,
        to: *const attn_tensor,
    ) -> attn_status;

    /// ```text
    /// Creates an empty memory for one mechanism, which it keeps alive. ATTN_ERR_ARGUMENT (also for options of rope that
    /// attn_rope would refuse), _STRUCT_SIZE, _SHAPE (dimensions that the mechanism was not made for), _DTYPE, _OVERFLOW,
    /// _NOMEM. Since 0.1, as all of them.
    /// ```
    pub fn attn_memory_create(
        mechanism: *const attn_mechanism,
        options: *const attn_memory_options,
        memory: *mut *mut attn_memory,
    ) -> attn_status;

    /// Gives the memory back; NULL is fine.
    pub fn attn_memory_destroy(memory: *mut attn_memory);

    /// ```text
    /// Appends n positions to each sequence, or to sequence b the first counts[b] of them: key [B, Hk, n, Dk] (NULL where no
    /// key is read), value [B, Hk, n, Dv] (NULL where the keys are the values), counts [B], ATTN_I32 or ATTN_I64, 0 .. n, or
    /// NULL. In float32 the bits that are kept do not depend on how positions are cut into calls. ATTN_ERR_ARGUMENT, _SHAPE,
    /// _DTYPE, _PARAMETER (one that the keys are projected with is not bound), _BUFFER (fixed, and full), _OVERFLOW,
    /// _NOMEM.
    /// ```
    pub fn attn_memory_append(
        memory: *mut attn_memory,
        key: *const attn_tensor,
        value: *const attn_tensor,
        counts: *const attn_tensor,
    ) -> attn_status;

    /// ```text
    /// The same for a ragged batch: sequence b gets rows offsets[b] .. offsets[b + 1] - 1 of key [1, Hk, rows, Dk] and value
    /// [1, Hk, rows, Dv], as many as there are. offsets [B + 1], as attn_forward_args.key_offsets; rows that no sequence has
    /// are not looked at.
    /// ```
    pub fn attn_memory_append_ragged(
        memory: *mut attn_memory,
        key: *const attn_tensor,
        value: *const attn_tensor,
        offsets: *const attn_tensor,
    ) -> attn_status;

    /// ```text
    /// Forgets what lies past the lengths, [B], ATTN_I32 or ATTN_I64, each 0 .. the sequence's length: what speculation or a
    /// beam got wrong.
    /// ```
    pub fn attn_memory_truncate(
        memory: *mut attn_memory,
        lengths: *const attn_tensor,
    ) -> attn_status;

    /// ```text
    /// The same, but for positions that were chosen, which then follow in their order: the branch of a tree of guesses that
    /// came true. Sequence b keeps positions 0 .. lengths[b] - 1 and, of positions [any], entries offsets[b] .. offsets[b +
    /// 1] - 1: each at least lengths[b], less than the sequence's length, and more than the one before. All ATTN_I32 or
    /// ATTN_I64; offsets [B + 1], as attn_forward_args.query_offsets. What is kept is moved as it is: keys that were turned
    /// where they stood, with options.rope, and stand elsewhere then are ATTN_ERR_UNSUPPORTED. Pages that are shared are
    /// copied before they are written to, and before others are given back: a fixed pool that is full may refuse what would
    /// fit. ATTN_ERR_ARGUMENT, _DTYPE, _SHAPE, _BUFFER (fixed, and full), _NOMEM.
    /// ```
    pub fn attn_memory_keep(
        memory: *mut attn_memory,
        lengths: *const attn_tensor,
        positions: *const attn_tensor,
        offsets: *const attn_tensor,
    ) -> attn_status;

    /// ```text
    /// Makes sequence b a copy of what sequence rows[b] was, or, where that is -1, a new and empty one; rows [any B],
    /// ATTN_I32 or ATTN_I64: the survivors of a beam; those of a batch that go on, and those that join it. The memory has as
    /// many sequences as there are rows then, perhaps none. ATTN_ERR_ARGUMENT, _DTYPE, _SHAPE, _NOMEM.
    /// ```
    pub fn attn_memory_reorder(memory: *mut attn_memory, rows: *const attn_tensor) -> attn_status;

    /// Makes a second memory with the same content, to go on by itself. With pages it takes but a table of them.
    pub fn attn_memory_fork(memory: *const attn_memory, copy: *mut *mut attn_memory) -> attn_status;

    /// ```text
    /// The sequences, and their lengths into lengths [count], count being at least the sequences; lengths may be NULL.
    /// ATTN_ERR_BUFFER: it is less.
    /// ```
    pub fn attn_memory_lengths(
        memory: *const attn_memory,
        batch: *mut i64,
        lengths: *mut i64,
        count: i64,
    ) -> attn_status;

    /// ```text
    /// The pages of its pool, its forks' among them, and how many of these nobody has: 0 and 0 without pages. Either may be
    /// NULL.
    /// ```
    pub fn attn_memory_pages(
        memory: *const attn_memory,
        count: *mut i64,
        unused: *mut i64,
    ) -> attn_status;

    /// ```text
    /// Writes keys and values into pages of the caller's. Places that no slot names stay as they are. Outputs must lie
    /// apart, but pages of keys and of values may take turns in one block, [N, 2, ..]. Everything is checked before anything
    /// is written: a slot past the last page, or named twice, is ATTN_ERR_ARGUMENT. Memory beside the arguments is 16 to 32
    /// bytes for each row, asked for once, and not where it is at most 16 KB. ATTN_ERR_STRUCT_SIZE, _SHAPE, _DTYPE,
    /// _OVERLAP, _OVERFLOW, _NOMEM. Thread safety: re-entrant. Since 0.1.
    /// ```
    pub fn attn_pages_append(
        engine: *mut attn_engine,
        args: *const attn_pages_append_args,
    ) -> attn_status;

    /// ```text
    /// Computes attention.
    ///
    /// Any of the outputs may be left out, those of stats being some, but not all. An output must not share memory with any
    /// input or other output, nor the workspace with any tensor; tensors count as sharing memory when the addresses that
    /// they reach from and to overlap, even if their elements interleave. A key that may not be seen, or whose score is
    /// minus infinity, contributes exactly nothing, even where its value is infinite or NaN; a NaN in a score or value that
    /// is seen does reach the output. A query that sees no key gets context 0, weights 0, log-sum-exp minus infinity.
    ///
    /// Ragged batches. With query_offsets sequence b has the queries in rows query_offsets[b] .. query_offsets[b + 1] - 1 of
    /// query, and what is said of them lies in the same rows of the other tensors; with key_offsets its keys are those rows
    /// of key and value, and columns of a mask, a bias, weights or scores count from the sequence's own first key. There may
    /// be either alone: a padded memory, or key_lengths, with ragged queries. Any sequence may have no queries, or no keys.
    /// A mask or a bias broadcasts to [B, Hq, Tq, Tk], whose rows are those of query and each sequence reads matrix b of.
    /// Each sequence gets the bits that a call with it alone, for the same outputs, would give it, unless it shares pages,
    /// as below. What lies past a sequence's keys in a row of weights is 0, of scores minus infinity. Rows that no sequence
    /// has are not looked at, nor written to.
    ///
    /// Pages. With page_table position j of sequence b is place j mod page of page page_table[b][j / page]; strides say
    /// whether a page has its positions or its heads outermost. Only the pages that hold the first key_lengths[b] positions
    /// are looked at, and of the last one only these positions. Several sequences may have the same page. There may be
    /// query_offsets, and there are no gradients. By tiles pages are read where they lie, or, where many queries read them,
    /// copied once for a chunk of key heads; by the BLAS a sequence's keys and values are copied. Many queries get the bits
    /// of keys that lie together by tiles; otherwise the results differ by roundings.
    ///
    /// Pages that sequences share are read once: where sequences that follow each other in the batch begin with the same
    /// full pages, and it pays, attention over these is computed for the queries of all of them together, attention over the
    /// rest of its keys for each, and both are joined as attn_merge does. Their results differ by roundings from those of a
    /// call with one alone, and may depend in their last bits on which sequences stand beside it. So it is with softmax, of
    /// context and log-sum-exp alone; without dropout, bias, ALiBi, relative biases, window, local or location attention;
    /// causal only bottom-right, and then only of pages that all queries see; with a mask only of the last keys, and only of
    /// pages before these; and of padded queries only where a sequence's rows follow those of the one before as its own do
    /// (one query each, or [B, Tq, Hq, Dq] in memory). All other sequences are as above.
    ///
    /// Dropout (Srivastava 2014; of attention weights, Vaswani 2017) draws from Philox4x32-10 (Salmon 2011), so that the
    /// same seed, offset and shape drop the same weights, in attn_backward too, whatever the threads: weight (b, h, i, j) is
    /// dropped if word j mod 4 of the block with key (seed low, seed high) and counter (j / 4 low, r low, r high, j / 4
    /// high), r = offset + (b Hq + h) Tq + i, is less than dropout 2^32; of ragged queries b is 0 and i the row. A caller
    /// who draws again adds B Hq Tq to the offset. A dropped key contributes nothing, like one that is not seen; the weights
    /// that are written, as output or stage of scores, are those that multiply the values; log-sum-exp is of all keys.
    ///
    /// Memory beside the arguments is a few megabytes, on the way of tiles for each thread; and copies: of parameters whose
    /// strides the BLAS cannot read; of keys and values where their strides want it, and of what scores project, for one key
    /// head at a time or, on the way of tiles, for as many as make 16 MB; and, where a decoding call splits its keys, a
    /// context for each part of about 1024 of them, 64 at most. Nothing grows with Tq x Tk, but for one byte for each tile
    /// of 64 x 128 of a mask that heads share. Stats take 48 bytes for each query and part of its keys, at most; sums by key
    /// 16 more for each query, 8 for each key and head of a group, for each thread or, by the BLAS, once, and where queries
    /// are few (at most 16 for each key head, 8 where scores are additive) their scores. Queries whose pages are shared take
    /// a context more, in float32 or float64, and 8 bytes for each head; and as much again for each thread's sequence.
    /// A call allocates once, at most what attn_forward_workspace says. It allocates nothing with a workspace, nor where
    /// the scratch is at most 16 KB: then that is the stack's.
    ///
    /// Numbers of 16 bits are computed with in float32, exactly as they are, and rounded once, to the nearest, of two to the
    /// even one, when they are written: gradients too, whatever they are summed over and added to. Fused tiles read and
    /// write them where they lie; otherwise a call has a copy in float32 of each such tensor in its scratch, and always of
    /// such parameters. attn_backward reads the context as it is: if that was rounded, its gradients of scores on the way of
    /// tiles may be off by as much as d_context times that rounding.
    ///
    /// The result has the same bits for any number of engine threads, and for any order in which an executor runs a job's
    /// items. Ways, BLAS libraries and, on the way of tiles, sets of kernels differ by roundings.
    ///
    /// Errors: ATTN_ERR_ARGUMENT, _STRUCT_SIZE, _SHAPE, _DTYPE, _OVERLAP, _OVERFLOW, _PARAMETER, _BUFFER (workspace),
    /// _NOMEM. Thread safety: re-entrant; the mechanism is only read. Since 0.1.
    /// ```
    pub fn attn_forward(
        mechanism: *const attn_mechanism,
        args: *const attn_forward_args,
    ) -> attn_status;

    /// ```text
    /// The bytes of workspace that attn_forward needs for these arguments (those that it would refuse are refused here
    /// with the same status; workspace and workspace_size are not looked at, and key_lengths, offsets and page_table are
    /// read). The answer depends on the mechanism as it is now, its engine, shapes, strides, dtype, which outputs are asked
    /// for, how long the sequences of a ragged batch, or of pages, are, and which pages these share; not on other data. Any
    /// alignment will do. Since 0.1.
    /// ```
    pub fn attn_forward_workspace(
        mechanism: *const attn_mechanism,
        args: *const attn_forward_args,
        bytes: *mut usize,
    ) -> attn_status;

    /// ```text
    /// Makes one of these arguments and runs nothing. It copies the views; what these look at, and a memory, must be there
    /// when it runs. Everything that attn_forward would refuse is refused here; workspace is not looked at. Allocates the
    /// plan, and once what attn_forward_workspace says. Errors: as attn_forward. Since 0.1.
    /// ```
    pub fn attn_plan_create(
        mechanism: *const attn_mechanism,
        args: *const attn_forward_args,
        plan: *mut *mut attn_plan,
    ) -> attn_status;

    /// ```text
    /// Computes. args: as the plan was made with, but for where tensors lie, the numbers in them (lengths too, and offsets
    /// of ragged batches, which cost some hundreds of nanoseconds a sequence), query_start, dropout_seed and dropout_offset,
    /// and another memory of the same sizes; they are remembered for the next run. NULL: as they are remembered. Offsets may
    /// end before the rows do: a plan for as many rows as there will ever be serves batches of any sequences.
    ///
    /// A run allocates nothing, unless its memory has grown since, the mechanism was changed (bind, set), or offsets,
    /// lengths of pages or shared pages are others, and it now needs more: such a run is planned anew, which takes some
    /// hundreds of nanoseconds.
    ///
    /// Errors: ATTN_ERR_SHAPE, ATTN_ERR_DTYPE, ATTN_ERR_ARGUMENT for what is not as it was planned; and as attn_forward. The
    /// plan stays as it was then. Since 0.1.
    /// ```
    pub fn attn_plan_run(plan: *mut attn_plan, args: *const attn_forward_args) -> attn_status;

    /// Since 0.1.
    pub fn attn_plan_destroy(plan: *mut attn_plan);

    /// ```text
    /// Luong's attentional state, which the decoder predicts from and may be fed with (Luong 2015, eq. 5):
    ///
    ///     output = tanh(W_c [context; query] + bias)
    ///
    /// Reads weight, bias, context and query, writes output, which must not share memory with them; looks at nothing else.
    ///
    /// Memory beside the arguments is none, but for copies of what has 16 bits a number, or strides that the BLAS cannot
    /// read or write: of the weight, and of at most 1024 rows of the others. It is the engine's allocator's, asked for once,
    /// and not where it is at most 16 KB. The result has the same bits for any number of engine threads.
    ///
    /// ATTN_ERR_ARGUMENT: a NULL. ATTN_ERR_STRUCT_SIZE, ATTN_ERR_SHAPE, ATTN_ERR_DTYPE, ATTN_ERR_OVERLAP, ATTN_ERR_OVERFLOW,
    /// ATTN_ERR_NOMEM. Thread safety: re-entrant. Since 0.1.
    /// ```
    pub fn attn_attentional_forward(
        engine: *mut attn_engine,
        args: *const attn_attentional_args,
    ) -> attn_status;

    /// ```text
    /// Its gradients. With dz = d_output (1 - output^2), for each row,
    ///
    ///     d_weight = sum over rows of dz [context; query]^T     d_bias = sum of dz     [d_context; d_query] = W_c^T dz
    ///
    /// Reads what forward read and wrote, and d_output; at least one gradient must be wanted. None of those may share memory
    /// with anything. Memory is as for forward, d_weight being like weight, and at most 1024 rows of dz. Bits, errors, and
    /// thread safety: as forward; ATTN_ERR_ARGUMENT also for an accumulate that is neither 0 nor 1, and a d_bias without
    /// bias. Since 0.1.
    /// ```
    pub fn attn_attentional_backward(
        engine: *mut attn_engine,
        args: *const attn_attentional_args,
    ) -> attn_status;

    /// ```text
    /// Computes gradients of a loss L by what attn_forward read: for example d_query = dL/d_query, from d_context =
    /// dL/d_context and whatever else flows in (at least one must). With a_ij the weights, and de_ij = dL/d e_ij,
    ///
    ///     da_ij = d_context_i . value_j + d_weights_ij
    ///     de_ij = a_ij (da_ij - sum_j' a_ij' da_ij' + d_logsumexp_i) / tau
    ///     d_sink_h = sum over i of a_i,sink (d_logsumexp_i - sum_j' a_ij' da_ij') / tau
    ///
    /// and from there through bias, softcap, scale and the score function. Weights are made anew from logsumexp: nothing of
    /// the size Tq x Tk is kept, and where that is a float32, weights and gradients carry its rounding, a relative error of
    /// up to 6e-8 times its size; where it is an ATTN_F64 they do not. context is read if d_context is given, logsumexp
    /// always; both must be those of a forward call with the same mechanism and the same inputs, or the gradients are of
    /// nothing. For a part of the keys they are those of all of them, as attn_merge makes them; then there is no d_weights.
    ///
    /// A query that sees no key has gradient 0, and adds none. A key that may not be seen by a query, or whose score is
    /// minus infinity, has no part in that query's gradient nor the query in that key's, even where one of them, its value,
    /// or the gradient that flows into it is infinite or NaN. Hardmax has no gradient: ATTN_ERR_UNSUPPORTED.
    ///
    /// Memory beside the arguments is as for attn_forward, and for each key head at hand its gradients where they cannot be
    /// summed in place. Bits, errors, and thread safety: as attn_forward. Outputs must not share memory with anything.
    /// Since 0.1.
    /// ```
    pub fn attn_backward(
        mechanism: *const attn_mechanism,
        args: *const attn_backward_args,
    ) -> attn_status;

    /// The bytes of workspace that attn_backward needs for these arguments: as attn_forward_workspace. Since 0.1.
    pub fn attn_backward_workspace(
        mechanism: *const attn_mechanism,
        args: *const attn_backward_args,
        bytes: *mut usize,
    ) -> attn_status;

    /// ```text
    /// Joins the results of attention over parts of the keys into that over all of them: of a memory that lies in several
    /// places, or whose beginning many sequences share. With m the greatest lse_k of a query, k being the parts,
    ///
    ///     context = sum_k context_k exp(lse_k - m) / sum_k exp(lse_k - m)     logsumexp = m + log sum_k exp(lse_k - m)
    ///
    /// Parts in which a query saw nothing, with lse_k minus infinity, have weight exactly 0, whatever their contexts hold,
    /// even NaN. Where it saw nothing in any of them, context is 0 and logsumexp minus infinity. A log-sum-exp that is NaN
    /// or plus infinity makes both NaN: there is no such sum.
    ///
    /// In place: context may be the very same view as that of a part, and so may logsumexp, of the same part or of another;
    /// then a running result takes up the next part. Otherwise an output must not share memory with anything.
    ///
    /// Weights are computed in float64, contexts are added up in float32, those of ATTN_F64 in float64, in the order of the
    /// parts, and rounded once, as in attn_forward, when they are written. So all parts at once, which each is read once
    /// for, are more exact than one after the other where context has 16 bits. One part comes out as it is; what is made of
    /// finite numbers is finite, up to the ends of their types. The log-sum-exp is best in ATTN_F64 where gradients are made
    /// from it.
    ///
    /// The call allocates nothing, for any number of parts. The result has the same bits for any number of engine threads,
    /// and differs by roundings between sets of kernels.
    ///
    /// Gradients of a call whose keys were split are those of the parts: attn_backward for each part's keys, its forward
    /// args being those of the part's call but for context and logsumexp, which are the merged ones, with d_context, and
    /// d_logsumexp, of the whole. d_key and d_value are then those of the part's keys, and d_query is the sum over the
    /// parts: attn_backward adds to it with accumulate = 1, to d_key and d_value, too, which are to hold 0 then.
    /// docs/mechanisms.md says how the parts of a call with modifiers are called.
    ///
    /// ATTN_ERR_ARGUMENT: a NULL, no parts. ATTN_ERR_STRUCT_SIZE, ATTN_ERR_SHAPE, ATTN_ERR_DTYPE, ATTN_ERR_OVERLAP,
    /// ATTN_ERR_OVERFLOW: as their names say, before anything is written. Thread safety: re-entrant. Since 0.1.
    /// ```
    pub fn attn_merge(engine: *mut attn_engine, args: *const attn_merge_args) -> attn_status;

    /// ```text
    /// Computes beta, alpha and their log-sum-exps, any of which may be NULL, but not all. What lies past a length has no
    /// part in anything, whatever it holds. Every valid row sees every valid row of the other sentence: there is no mask.
    ///
    /// A call allocates once, nothing where the scratch is at most 16 KB. The scratch does not grow with Ta x Tb: on the way
    /// of tiles it is, for each thread, a few tiles of scores and one head's alpha, otherwise a few megabytes and one head's
    /// alpha; and copies of one head's inputs where their strides or 16 bits want it. Heads of sequences are what threads
    /// share on the way of tiles. Errors: ATTN_ERR_ARGUMENT, _STRUCT_SIZE, _SHAPE, _DTYPE, _OVERLAP, _OVERFLOW, _NOMEM. Bits
    /// and thread safety as attn_forward's. Since 0.1.
    /// ```
    pub fn attn_decomposable_forward(
        engine: *mut attn_engine,
        args: *const attn_decomposable_args,
    ) -> attn_status;

    /// ```text
    /// Computes the gradients that are wanted of a loss by f, g, a and b, from d_beta, its gradient by beta, or d_alpha, or
    /// both. With w_ij and u_ij the weights of b_j in beta_i and of a_i in alpha_j,
    ///
    ///     de_ij = w_ij (d_beta_i . b_j - d_beta_i . beta_i) + u_ij (d_alpha_j . a_i - d_alpha_j . alpha_j)
    ///     d_f_i = sum_j de_ij g_j     d_a_i = sum_j u_ij d_alpha_j
    ///     d_g_j = sum_i de_ij f_i     d_b_j = sum_i w_ij d_beta_i
    ///
    /// Weights are made anew from the log-sum-exps: with d_beta, beta and a_logsumexp are read as attn_decomposable_forward
    /// wrote them, with d_alpha, alpha and b_logsumexp. Past a length gradients are 0, and what is there is not looked at;
    /// with accumulate nothing is added to them. Memory, errors, bits and thread safety as attn_decomposable_forward's.
    /// Since 0.1.
    /// ```
    pub fn attn_decomposable_backward(
        engine: *mut attn_engine,
        args: *const attn_decomposable_args,
    ) -> attn_status;

    /// ```text
    /// Creates a layer around a mechanism of any score that takes queries and keys of head_dim. What is later set or bound
    /// there holds here. The layer keeps the mechanism alive.
    /// ATTN_ERR_ARGUMENT: a NULL, a number that is negative, or 0 where that stands for nothing, an unknown flag.
    /// ATTN_ERR_SHAPE: heads that do not divide, packed weights for unequal dimensions, a mechanism that was made for others
    /// than head_dim. What attn_rope would refuse of options and head_dim. ATTN_ERR_STRUCT_SIZE, ATTN_ERR_OVERFLOW,
    /// ATTN_ERR_NOMEM. Since 0.1.
    /// ```
    pub fn attn_multihead_create(
        mechanism: *const attn_mechanism,
        options: *const attn_multihead_options,
        multihead: *mut *mut attn_multihead,
    ) -> attn_status;

    /// Gives the layer back; NULL is fine. Since 0.1.
    pub fn attn_multihead_destroy(multihead: *mut attn_multihead);

    /// ```text
    /// Parameters, as those of a mechanism, and the same errors. In this order: W_q [Hq head_dim, query_dim], W_k [Hk
    /// head_dim, key_dim], W_v [Hk value_head_dim, value_dim], W_o [output_dim, Hq value_head_dim], then b_q, b_k, b_v, b_o,
    /// one number for each row of theirs. Packed: W_qkv, W_o, b_qkv, b_o. Since 0.1, all of them.
    /// ```
    pub fn attn_multihead_param_count(
        multihead: *const attn_multihead,
        count: *mut i32,
    ) -> attn_status;

    pub fn attn_multihead_param_info(
        multihead: *const attn_multihead,
        index: i32,
        info: *mut attn_param_info,
    ) -> attn_status;

    pub fn attn_multihead_bind_param(
        multihead: *mut attn_multihead,
        name: *const c_char,
        tensor: *const attn_tensor,
    ) -> attn_status;

    /// ```text
    /// Computes the layer.
    ///
    /// Positions. Where the layer turns its queries and keys, the keys of a sequence stand at 0, 1, 2, .., or, where they
    /// are appended to a memory, at its length and on, unless there are `key_positions`, or in self-attention `positions`.
    /// So do queries in self-attention, otherwise from attention->query_start on, unless there are `positions`: the depths
    /// of guesses in a tree, say.
    ///
    /// Ragged batches. With attention->query_offsets x and the output are [1, rows, ..], and with attention->key_offsets y
    /// and z, of the rows that attn_forward says: every sequence gets what a call with it alone gives it, but for roundings
    /// of the products. In self-attention query_offsets are the keys', too, and key_offsets is NULL. With a memory each
    /// sequence appends as many as it has. Rows that no sequence has are not looked at, nor written to.
    ///
    /// With a memory it is made for decoding step by step: of one for the layer's mechanism (dot, scaled dot or general, not
    /// turning its keys), with the batch, key_heads, head_dim and value_head_dim of the layer, and kept in the query's
    /// dtype, in ATTN_F32 for one of 16 bits, or in ATTN_I8. Keys and values are kept as they come from their projections,
    /// rounded once, or made integers, where it is not of what these are computed in; and are attended to as they are kept,
    /// those of the same call too. The mechanism's positions are then those of the memory: causal and aligned bottom-right,
    /// what comes out is what the whole sequence at once would give, but for that rounding. Cross-attention appends what it
    /// attends to once, by a call that may be without queries (Tq = 0), and is called with attend_only from then on; what is
    /// longer than a sequence is attn_memory_truncate's to forget. key_lengths and saved are NULL. A failed call appends
    /// nothing.
    ///
    /// Each input is projected by one product, or by one for each parameter that is not packed; heads are strides in what
    /// comes of it. Memory beside the arguments is that, the joined contexts, what attn_forward needs, and a few megabytes
    /// for products; copies of x, y, z or the output only where their B T rows are not evenly spaced and contiguous, or have
    /// 16 bits a number, as then of such parameters. Between x and output nothing is rounded to 16 bits. What is saved is
    /// not needed a second time. A call allocates once, or with a workspace not at all.
    ///
    /// What holds of attn_forward's results holds of these: unseen keys add nothing, whatever is in y and z there; a query
    /// that sees no key has the output b_o; bits do not depend on the number of threads. Errors and thread safety too:
    /// outputs must not share memory with anything, `saved` being one, and a refused call leaves all of them as they were.
    /// Since 0.1.
    /// ```
    pub fn attn_multihead_forward(
        multihead: *const attn_multihead,
        args: *const attn_multihead_args,
    ) -> attn_status;

    /// ```text
    /// The bytes of workspace that attn_multihead_forward needs for these arguments: as attn_forward_workspace. It depends
    /// on whether `saved` is given, too. Where the call would append to a memory, this may as little run beside another use
    /// of that as the call itself. Since 0.1.
    /// ```
    pub fn attn_multihead_workspace(
        multihead: *const attn_multihead,
        args: *const attn_multihead_args,
        bytes: *mut usize,
    ) -> attn_status;

    /// ```text
    /// The bytes of attn_multihead_args.saved, which hold projected queries, keys and values, the heads' contexts and
    /// log-sum-exp; asked before there are any (saved, saved_size, outputs and workspace are not looked at). They may be
    /// moved, to an address with the same remainder by 64. Since 0.1.
    /// ```
    pub fn attn_multihead_saved(
        multihead: *const attn_multihead,
        args: *const attn_multihead_args,
        bytes: *mut usize,
    ) -> attn_status;

    /// ```text
    /// Computes gradients of a loss by what attn_multihead_forward read. With `saved` and without it they have the same
    /// bits, if that call was asked for no weights or scores; otherwise they may differ by roundings. What attn_backward
    /// says of gradients, memory, bits, errors and thread safety holds here; d_y and d_z of keys that nobody sees are 0, and
    /// these add nothing to parameters, whatever they hold. Since 0.1.
    /// ```
    pub fn attn_multihead_backward(
        multihead: *const attn_multihead,
        args: *const attn_multihead_backward_args,
    ) -> attn_status;

    /// The bytes of workspace that attn_multihead_backward needs for these arguments: as attn_forward_workspace. Since 0.1.
    pub fn attn_multihead_backward_workspace(
        multihead: *const attn_multihead,
        args: *const attn_multihead_backward_args,
        bytes: *mut usize,
    ) -> attn_status;
}

/// Every constant by its name, for `attn_constant` to agree with.
pub static CONSTANTS: &[(&str, i64)] = &[
    ("ATTN_VERSION_MAJOR", 0),
    ("ATTN_VERSION_MINOR", 1),
    ("ATTN_VERSION_PATCH", 0),
    ("ATTN_ABI_VERSION", 0),
    ("ATTN_OK", 0),
    ("ATTN_ERR_ARGUMENT", 10),
    ("ATTN_ERR_STRUCT_SIZE", 15),
    ("ATTN_ERR_SHAPE", 20),
    ("ATTN_ERR_DTYPE", 30),
    ("ATTN_ERR_OVERLAP", 40),
    ("ATTN_ERR_OVERFLOW", 50),
    ("ATTN_ERR_PARAMETER", 60),
    ("ATTN_ERR_BUFFER", 70),
    ("ATTN_ERR_NOMEM", 80),
    ("ATTN_ERR_BACKEND", 90),
    ("ATTN_ERR_UNSUPPORTED", 100),
    ("ATTN_F32", 1),
    ("ATTN_F64", 2),
    ("ATTN_F16", 3),
    ("ATTN_BF16", 4),
    ("ATTN_I8", 5),
    ("ATTN_BOOL", 6),
    ("ATTN_I32", 7),
    ("ATTN_I64", 8),
    ("ATTN_VIEW_BEYOND", 101),
    ("ATTN_VIEW_STRIDES", 102),
    ("ATTN_WAY_AUTOMATIC", 0),
    ("ATTN_WAY_BLAS", 1),
    ("ATTN_WAY_TILES", 2),
    ("ATTN_LOG_INFO", 10),
    ("ATTN_LOG_WARNING", 20),
    ("ATTN_ADDITIVE_BIAS", 1),
    ("ATTN_ADDITIVE_NORMALISED", 2),
    ("ATTN_ADDITIVE_QUERY_PROJECTED", 4),
    ("ATTN_ADDITIVE_KEY_PROJECTED", 8),
    ("ATTN_SOFTMAX", 0),
    ("ATTN_HARDMAX", 1),
    ("ATTN_PRECISION_EXACT", 0),
    ("ATTN_PRECISION_FAST", 1),
    ("ATTN_ALIGN_NONE", 0),
    ("ATTN_ALIGN_TOP_LEFT", 1),
    ("ATTN_ALIGN_BOTTOM_RIGHT", 2),
    ("ATTN_RELATIVE_NONE", 0),
    ("ATTN_RELATIVE_CLIPPED", 1),
    ("ATTN_RELATIVE_T5", 2),
    ("ATTN_RELATIVE_T5_CAUSAL", 3),
    ("ATTN_LOCAL_NONE", 0),
    ("ATTN_LOCAL_MONOTONIC", 1),
    ("ATTN_LOCAL_PREDICTIVE", 2),
    ("ATTN_LOCAL_PREDICTIVE_FLOOR", 3),
    ("ATTN_ROPE_HALVES", 1),
    ("ATTN_ROPE_INTERLEAVED", 2),
    ("ATTN_MEMORY_FIXED", 1),
    ("ATTN_MEMORY_KEYS_ALONE", 2),
    ("ATTN_SCORES_RAW", 0),
    ("ATTN_SCORES_CAPPED", 1),
    ("ATTN_SCORES_MASKED", 2),
    ("ATTN_SCORES_WEIGHTS", 3),
    ("ATTN_MULTIHEAD_BIAS", 1),
    ("ATTN_MULTIHEAD_PACKED", 2),
];

/// Every struct's size by the name that `attn_constant` has for it.
pub static SIZES: &[(&str, usize)] = &[
    ("sizeof attn_tensor", std::mem::size_of::<attn_tensor>()),
    ("sizeof attn_engine_options", std::mem::size_of::<attn_engine_options>()),
    ("sizeof attn_param_info", std::mem::size_of::<attn_param_info>()),
    ("sizeof attn_rope_options", std::mem::size_of::<attn_rope_options>()),
    ("sizeof attn_memory_options", std::mem::size_of::<attn_memory_options>()),
    ("sizeof attn_pages_append_args", std::mem::size_of::<attn_pages_append_args>()),
    ("sizeof attn_weights_stats", std::mem::size_of::<attn_weights_stats>()),
    ("sizeof attn_forward_args", std::mem::size_of::<attn_forward_args>()),
    ("sizeof attn_attentional_args", std::mem::size_of::<attn_attentional_args>()),
    ("sizeof attn_backward_args", std::mem::size_of::<attn_backward_args>()),
    ("sizeof attn_merge_args", std::mem::size_of::<attn_merge_args>()),
    ("sizeof attn_decomposable_args", std::mem::size_of::<attn_decomposable_args>()),
    ("sizeof attn_multihead_options", std::mem::size_of::<attn_multihead_options>()),
    ("sizeof attn_multihead_args", std::mem::size_of::<attn_multihead_args>()),
    ("sizeof attn_multihead_backward_args", std::mem::size_of::<attn_multihead_backward_args>()),
];
