// SPDX-License-Identifier: BSD-3-Clause
//! Failures: a status for programs, a sentence for people.

use attn_sys as sys;
use std::ffi::CStr;
use std::fmt;

/// What kind of failure it was: the library's `ATTN_ERR_` constants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Status {
    /// A required argument is missing, or a value is outside its range.
    Argument,
    /// Ranks or dimensions do not fit together, or a slice does not fit its shape.
    Shape,
    /// An element type that is not taken there.
    DType,
    /// An output shares memory with another argument or with itself.
    Overlap,
    /// Sizes whose product cannot be addressed.
    Overflow,
    /// A parameter that there is not, or one that is needed and not bound.
    Parameter,
    /// There is no room: a memory of fixed capacity is full.
    Buffer,
    /// The allocator gave nothing.
    OutOfMemory,
    /// The BLAS or the machine cannot do what was asked.
    Backend,
    /// Well formed, but not in this version of the library, or not on this machine.
    Unsupported,
    /// A status that this version of the crate has no name for.
    Other(i32),
}

impl Status {
    fn of(status: sys::attn_status) -> Self {
        match status {
            sys::ATTN_ERR_ARGUMENT => Self::Argument,
            sys::ATTN_ERR_SHAPE => Self::Shape,
            sys::ATTN_ERR_DTYPE => Self::DType,
            sys::ATTN_ERR_OVERLAP => Self::Overlap,
            sys::ATTN_ERR_OVERFLOW => Self::Overflow,
            sys::ATTN_ERR_PARAMETER => Self::Parameter,
            sys::ATTN_ERR_BUFFER => Self::Buffer,
            sys::ATTN_ERR_NOMEM => Self::OutOfMemory,
            sys::ATTN_ERR_BACKEND => Self::Backend,
            sys::ATTN_ERR_UNSUPPORTED => Self::Unsupported,
            other => Self::Other(other),
        }
    }
}

/// A call that was refused. A call that fails leaves every output and every handle as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    status: Status,
    sentence: String,
}

/// What functions of this crate return.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn new(status: Status, sentence: impl Into<String>) -> Self {
        let sentence = sentence.into();
        Self { status, sentence }
    }

    /// What kind of failure it was.
    pub fn status(&self) -> Status {
        self.status
    }

    /// The calling thread's last failure, of which a call has just returned this status.
    #[cold]
    fn last(status: sys::attn_status) -> Self {
        // SAFETY: the string is the library's, and valid until this thread's next failing call.
        let sentence = unsafe { CStr::from_ptr(sys::attn_last_error()) };
        Self::new(Status::of(status), sentence.to_string_lossy())
    }
}

/// The sentence: which function refused which argument, what was got and what was wanted.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl std::error::Error for Error {}

/// Ok for a status of 0; otherwise what the library has just said on this thread.
#[inline]
pub(crate) fn check(status: sys::attn_status) -> Result<()> {
    if status == sys::ATTN_OK {
        return Ok(());
    }
    Err(Error::last(status))
}
