// SPDX-License-Identifier: BSD-3-Clause
//! Keys and values made ready for many queries: encoder states, or a growing cache.

use crate::element::{Float, Stored};
use crate::error::{check, Error, Result, Status};
use crate::layout::size;
use crate::mechanism::Mechanism;
use crate::position::Rope;
use crate::tensor::{pointer, Indices, Tensor};
use attn_sys as sys;
use std::fmt;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// What a memory is to be made for.
#[derive(Clone, Copy, Debug)]
pub struct MemoryOptions {
    batch: usize,
    key_heads: usize,
    key_dim: usize,
    value_dim: Option<usize>,
    capacity: usize,
    fixed: bool,
    rope: Option<Rope>,
    page: usize,
}

impl MemoryOptions {
    /// One sequence, one head, keys of this dimension (0 where no key is read: location), which are the values too.
    pub fn new(key_dim: usize) -> Self {
        Self {
            batch: 1,
            key_heads: 1,
            key_dim,
            value_dim: None,
            capacity: 0,
            fixed: false,
            rope: None,
            page: 0,
        }
    }

    /// So many sequences, at least 1.
    pub fn batch(mut self, batch: usize) -> Self {
        self.batch = batch;
        self
    }

    /// So many heads of keys and values, at least 1.
    pub fn key_heads(mut self, key_heads: usize) -> Self {
        self.key_heads = key_heads;
        self
    }

    /// There are values beside the keys, of this dimension.
    pub fn value_dim(mut self, value_dim: usize) -> Self {
        self.value_dim = Some(value_dim);
        self
    }

    /// There is room for so many positions of each sequence from the beginning; it at least doubles when there are more.
    pub fn capacity(mut self, capacity: usize) -> Self {
        self.capacity = capacity;
        self
    }

    /// There is never room for more than the capacity.
    pub fn fixed(mut self) -> Self {
        self.fixed = true;
        self
    }

    /// Keys are turned by their positions as they are appended.
    pub fn rope(mut self, rope: Rope) -> Self {
        self.rope = Some(rope);
        self
    }

    /// The sequences have pages of so many positions, all from one pool, which those that [`reorder`](Memory::reorder) and
    /// [`fork`](Memory::fork) make share until one of them is appended to. 0: each sequence lies by itself.
    pub fn page(mut self, page: usize) -> Self {
        self.page = page;
        self
    }
}

/// What is appended to a memory: n positions of each sequence; or, of a ragged batch, some of the rows to each.
#[derive(Clone, Copy, Debug)]
pub struct Append<'a, T: Float> {
    key: Option<Tensor<'a, T>>,
    value: Option<Tensor<'a, T>>,
    counts: Option<Indices<'a>>,
    offsets: Option<Indices<'a>>,
}

impl<'a, T: Float> Append<'a, T> {
    /// Keys [B, Hk, n, Dk].
    pub fn keys(key: Tensor<'a, T>) -> Self {
        Self {
            key: Some(key),
            value: None,
            counts: None,
            offsets: None,
        }
    }

    /// Values [B, Hk, n, Dv] alone, where no key is read.
    pub fn values_alone(value: Tensor<'a, T>) -> Self {
        Self {
            key: None,
            value: Some(value),
            counts: None,
            offsets: None,
        }
    }

    /// Values [B, Hk, n, Dv] beside the keys, where they are not the keys.
    pub fn values(mut self, value: Tensor<'a, T>) -> Self {
        self.value = Some(value);
        self
    }

    /// Of sequence b the first counts\[b\] positions alone, 0 to n.
    pub fn counts(mut self, counts: impl Into<Indices<'a>>) -> Self {
        self.counts = Some(counts.into());
        self
    }

    /// A ragged batch, without padding \[B + 1\]: sequence b gets rows `offsets[b]` to `offsets[b + 1]` of keys [1, Hk, all of
    /// them, Dk] and values, as many as there are. In place of [`counts`](Self::counts).
    ///
    /// ```
    /// # fn main() -> attn::Result<()> {
    /// # use attn::*; use std::sync::Arc;
    /// # let mechanism = Arc::new(Mechanism::scaled_dot(&Engine::new()?)?);
    /// let mut memory = Memory::<f32>::new(&mechanism, MemoryOptions::new(4).batch(2))?;
    /// let keys = [1.0; 5 * 4];
    /// memory.append(Append::keys(Tensor::new(&keys, &[5, 4])?).offsets(&[0, 1, 5]))?;
    /// assert_eq!(memory.lengths()?, [1, 4]);
    /// # Ok(()) }
    /// ```
    pub fn offsets(mut self, offsets: impl Into<Indices<'a>>) -> Self {
        self.offsets = Some(offsets.into());
        self
    }
}

/// Keys and values made ready for many queries, for one mechanism: encoder states that are projected once for all steps
/// of a decoder, or a growing cache. It holds copies: of values as they come, of keys as the score wants them, with the
/// parameters that were bound when they were appended. Each sequence has a length of its own. `T` is what they are kept in.
///
/// It is `Send` and `Sync`: any number of threads may read it at once, in [`forward`](crate::Mechanism::forward); what
/// changes it takes `&mut self`. It holds the mechanism, which therefore nobody can change as long as the memory exists.
///
/// ```
/// # fn main() -> attn::Result<()> {
/// # use attn::*; use std::sync::Arc;
/// let mechanism = Arc::new(Mechanism::scaled_dot(&Engine::new()?)?);
/// let mut memory = Memory::<f32>::new(&mechanism, MemoryOptions::new(4))?;
/// memory.append(Append::keys(Tensor::new(&[1.0; 12], &[3, 4])?))?;
/// assert_eq!(memory.lengths()?, [3]);
/// # Ok(()) }
/// ```
///
/// ```compile_fail,E0502
/// # use attn::*; use std::sync::Arc;
/// # let mechanism = Arc::new(Mechanism::scaled_dot(&Engine::new().unwrap()).unwrap());
/// let mut memory = Memory::<f32>::new(&mechanism, MemoryOptions::new(4)).unwrap();
/// let query = [0.0; 4];
/// let inputs = Inputs::new(Tensor::new(&query, &[4]).unwrap()).memory(&memory);
/// memory.truncate(&[0]).unwrap(); // while it is an input
/// drop(inputs);
/// ```
pub struct Memory<T: Stored> {
    raw: Raw,
    value_dim: usize,
    mechanism: Arc<Mechanism>, // dropped after the handle is destroyed
    element: PhantomData<T>,
}

/// The pages of a memory's pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pages {
    /// All of them.
    pub count: usize,
    /// Those that nobody has.
    pub unused: usize,
}

/// The handle, and with pages the turn that its forks take at their pool.
struct Raw {
    handle: NonNull<sys::attn_memory>,
    turn: Option<Arc<Turn>>,
}

// SAFETY: attn.h: a handle belongs to no thread, and any number of threads may use it at once, but for what changes it,
// which takes a &mut of what this is in, and the turn.
unsafe impl Send for Raw {}
unsafe impl Sync for Raw {}

impl Raw {
    /// To change it, and what it shares.
    fn change(&self) -> Option<RwLockWriteGuard<'_, ()>> {
        self.turn.as_deref().map(Turn::change)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _turn = self.change();
        // SAFETY: nobody else has it.
        unsafe { sys::attn_memory_destroy(self.handle.as_ptr()) }
    }
}

/// What a memory in pages and its forks wait for: any number of them may be read, or one changed.
#[derive(Default)]
pub(crate) struct Turn(RwLock<()>);

impl Turn {
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, ()> {
        self.0.read().unwrap_or_else(|of| of.into_inner())
    }

    fn change(&self) -> RwLockWriteGuard<'_, ()> {
        self.0.write().unwrap_or_else(|of| of.into_inner())
    }
}

impl<T: Stored> fmt::Debug for Memory<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory")
            .field("element", &T::NAME)
            .field("value_dim", &self.value_dim)
            .finish_non_exhaustive()
    }
}

impl<T: Stored> Memory<T> {
    /// An empty memory for a mechanism.
    ///
    /// # Errors
    ///
    /// `Argument`: a size that cannot be. `Shape`: dimensions that the mechanism was not made for. `Unsupported`: turned
    /// keys where a projection would come after. `Overflow`, `OutOfMemory`.
    pub fn new(mechanism: &Arc<Mechanism>, options: MemoryOptions) -> Result<Self> {
        let rope = options.rope.map(|rope| rope.options());
        let mut flags = 0;
        if options.fixed {
            flags |= sys::ATTN_MEMORY_FIXED;
        }
        if options.value_dim.is_none() {
            flags |= sys::ATTN_MEMORY_KEYS_ALONE;
        }
        let given = sys::attn_memory_options {
            flags,
            dtype: T::DTYPE,
            batch: size(options.batch),
            key_heads: size(options.key_heads.max(1)),
            key_dim: size(options.key_dim),
            value_dim: size(options.value_dim.unwrap_or(0)),
            capacity: size(options.capacity),
            rope: rope.as_ref().map_or(ptr::null(), |rope| rope),
            page: size(options.page),
            ..Default::default()
        };
        let mut handle = ptr::null_mut();
        // SAFETY: the mechanism is kept until the memory is destroyed.
        check(unsafe { sys::attn_memory_create(mechanism.raw(), &given, &mut handle) })?;
        let value_dim = options.value_dim.unwrap_or(options.key_dim);
        let turn = (options.page > 0).then(Arc::default);
        Ok(Self::own(handle, turn, value_dim, mechanism.clone()))
    }

    fn own(
        handle: *mut sys::attn_memory,
        turn: Option<Arc<Turn>>,
        value_dim: usize,
        mechanism: Arc<Mechanism>,
    ) -> Self {
        let handle = NonNull::new(handle).expect("a created handle");
        Self {
            raw: Raw { handle, turn },
            value_dim,
            mechanism,
            element: PhantomData,
        }
    }

    /// Appends positions in another type than they are kept in, where the library converts them: to a memory of `i8`, in any
    /// type that is computed in float32.
    ///
    /// # Errors
    ///
    /// `Shape`. `Argument`: keys or values that are missing, or too many. `Parameter`: keys are projected with one that is
    /// not bound. `DType`: a type that it does not take. `Buffer`: the capacity is fixed, and full. `Overflow`,
    /// `OutOfMemory`.
    pub fn append_converted<A: Float>(&mut self, rows: Append<'_, A>) -> Result<()> {
        if rows.counts.is_some() && rows.offsets.is_some() {
            let sentence =
                "there are counts, but offsets too, which say how many each sequence gets";
            return Err(Error::new(Status::Argument, sentence));
        }
        let _turn = self.raw.change();
        let (memory, key, value) = (
            self.raw.handle.as_ptr(),
            pointer(&rows.key),
            pointer(&rows.value),
        );
        // SAFETY: tensors are views of slices that are borrowed for the call.
        check(match &rows.offsets {
            None => unsafe { sys::attn_memory_append(memory, key, value, pointer(&rows.counts)) },
            Some(offsets) => unsafe {
                sys::attn_memory_append_ragged(memory, key, value, &offsets.raw)
            },
        })
    }

    /// Forgets what lies past these lengths, one for each sequence, 0 to what it has.
    ///
    /// # Errors
    ///
    /// `Shape`, `Argument`.
    pub fn truncate<'a>(&mut self, lengths: impl Into<Indices<'a>>) -> Result<()> {
        let lengths = lengths.into();
        let _turn = self.raw.change();
        // SAFETY: as above.
        check(unsafe { sys::attn_memory_truncate(self.raw.handle.as_ptr(), &lengths.raw) })
    }

    /// The same, but for positions that were chosen, which then follow in their order: the branch of a tree of guesses that
    /// came true. Sequence b keeps what lies before lengths\[b\] and, of the positions, entries offsets\[b\] to offsets\[b + 1\],
    /// each of them at least lengths\[b\], and more than the one before.
    ///
    /// # Errors
    ///
    /// `Shape`, `Argument`. `Unsupported`: keys that were turned where they stood would stand elsewhere. `Buffer`: shared
    /// pages have to be copied, and the capacity is fixed, and full. `OutOfMemory`.
    pub fn keep<'a>(
        &mut self,
        lengths: impl Into<Indices<'a>>,
        positions: impl Into<Indices<'a>>,
        offsets: impl Into<Indices<'a>>,
    ) -> Result<()> {
        let (lengths, positions, offsets) = (lengths.into(), positions.into(), offsets.into());
        let _turn = self.raw.change();
        // SAFETY: as above.
        check(unsafe {
            sys::attn_memory_keep(
                self.raw.handle.as_ptr(),
                &lengths.raw,
                &positions.raw,
                &offsets.raw,
            )
        })
    }

    /// Makes sequence b a copy of what sequence rows\[b\] was, or, where that is -1, a new and empty one: the survivors of a
    /// beam; those of a batch that go on, and those that join it. There are as many sequences as rows then, perhaps none.
    ///
    /// # Errors
    ///
    /// `Argument`: no such sequence. `Shape`, `OutOfMemory`.
    pub fn reorder<'a>(&mut self, rows: impl Into<Indices<'a>>) -> Result<()> {
        let rows = rows.into();
        let _turn = self.raw.change();
        // SAFETY: as above.
        check(unsafe { sys::attn_memory_reorder(self.raw.handle.as_ptr(), &rows.raw) })
    }

    /// A second memory with the same content, to go on by itself. With [pages](MemoryOptions::page) it shares them, and what
    /// changes one of the two waits for calls with the other.
    ///
    /// # Errors
    ///
    /// `OutOfMemory`.
    pub fn fork(&self) -> Result<Self> {
        let mut handle = ptr::null_mut();
        let turn = self.raw.change();
        // SAFETY: it is only read, but for how many have its pages.
        check(unsafe { sys::attn_memory_fork(self.raw(), &mut handle) })?;
        drop(turn);
        let (turn, mechanism) = (self.raw.turn.clone(), self.mechanism.clone());
        Ok(Self::own(handle, turn, self.value_dim, mechanism))
    }

    /// How many positions each sequence has.
    ///
    /// # Errors
    ///
    /// None that is expected.
    pub fn lengths(&self) -> Result<Vec<usize>> {
        let mut batch = 0;
        // SAFETY: there is room for as many as there are.
        check(unsafe { sys::attn_memory_lengths(self.raw(), &mut batch, ptr::null_mut(), 0) })?;
        let mut lengths = vec![0i64; batch as usize];
        check(unsafe {
            sys::attn_memory_lengths(self.raw(), &mut batch, lengths.as_mut_ptr(), batch)
        })?;
        Ok(lengths.into_iter().map(|n| n as usize).collect())
    }

    /// How many pages its pool has, its forks' among them, and how many of these nobody has. Without
    /// [pages](MemoryOptions::page) there are none.
    ///
    /// # Errors
    ///
    /// None that is expected.
    pub fn pages(&self) -> Result<Pages> {
        let (mut count, mut unused) = (0, 0);
        let _turn = self.raw.turn.as_deref().map(Turn::read);
        // SAFETY: it is read, while nobody changes what it shares.
        check(unsafe { sys::attn_memory_pages(self.raw(), &mut count, &mut unused) })?;
        Ok(Pages {
            count: count as usize,
            unused: unused as usize,
        })
    }

    /// The dimension of what is attended to: of the values, or of the keys where these are the values.
    pub fn value_dim(&self) -> usize {
        self.value_dim
    }

    /// The mechanism that it was made for.
    pub fn mechanism(&self) -> &Arc<Mechanism> {
        &self.mechanism
    }

    #[inline]
    pub(crate) fn raw(&self) -> *const sys::attn_memory {
        self.raw.handle.as_ptr()
    }

    /// To be changed as long as nobody else has the turn.
    #[inline]
    pub(crate) fn raw_mut(&mut self) -> (*mut sys::attn_memory, Option<RwLockWriteGuard<'_, ()>>) {
        (self.raw.handle.as_ptr(), self.raw.change())
    }
}

impl<T: Float> Memory<T> {
    /// Appends positions to each sequence.
    ///
    /// # Errors
    ///
    /// As [`append_converted`](Self::append_converted).
    pub fn append(&mut self, rows: Append<'_, T>) -> Result<()> {
        self.append_converted(rows)
    }
}

/// A memory that is read, whatever type it is kept in: for [`Slices`](crate::Slices), `Some((&memory).into())`.
#[derive(Clone, Copy)]
pub struct MemoryRef<'a> {
    raw: *const sys::attn_memory,
    turn: Option<&'a Turn>,
}

// SAFETY: it is a memory, which is Sync, borrowed.
unsafe impl Send for MemoryRef<'_> {}
unsafe impl Sync for MemoryRef<'_> {}

impl fmt::Debug for MemoryRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryRef").finish_non_exhaustive()
    }
}

impl<'a, T: Stored> From<&'a Memory<T>> for MemoryRef<'a> {
    #[inline]
    fn from(memory: &'a Memory<T>) -> Self {
        Self {
            raw: memory.raw(),
            turn: memory.raw.turn.as_deref(),
        }
    }
}

impl<'a> MemoryRef<'a> {
    #[inline]
    pub(crate) fn raw(self) -> *const sys::attn_memory {
        self.raw
    }

    /// What a call over it holds while it runs.
    #[inline]
    pub(crate) fn read(self) -> Option<RwLockReadGuard<'a, ()>> {
        self.turn.map(Turn::read)
    }
}
