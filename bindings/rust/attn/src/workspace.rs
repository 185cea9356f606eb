// SPDX-License-Identifier: BSD-3-Clause
//! Scratch that is kept from call to call.

use crate::error::{check, Error, Result, Status};
use attn_sys as sys;
use std::fmt;
use std::mem::MaybeUninit;
use std::os::raw::c_void;
use std::ptr;

/// Scratch for calls, which grows to what the largest of them needs: a call that is given one asks nobody for memory once
/// it has grown. Any call may have it, of any mechanism; one at a time. Without one the engine's allocator is asked, for
/// each call that needs more than 16 KB.
#[derive(Default)]
pub struct Workspace {
    bytes: Vec<MaybeUninit<u8>>,
    asked: bool,
}

impl fmt::Debug for Workspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Workspace({} bytes)", self.len())
    }
}

impl Workspace {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many bytes it has grown to.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it has not grown yet.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn pointer(&mut self) -> *mut c_void {
        self.bytes.as_mut_ptr() as *mut c_void
    }

    /// Grows to so many bytes.
    pub(crate) fn reserve(&mut self, bytes: usize) -> Result<()> {
        if bytes > self.bytes.len() {
            self.bytes = Vec::new(); // what was there is not wanted beside what comes
            self.bytes.try_reserve_exact(bytes).map_err(|_| {
                let sentence = format!("no memory for a workspace of {bytes} bytes");
                Error::new(Status::OutOfMemory, sentence)
            })?;
            // SAFETY: there is room for them, and they need not be initialised.
            unsafe { self.bytes.set_len(bytes) };
        }
        self.asked = true;
        Ok(())
    }
}

/// Runs a call with a workspace, where there is one, that is as large as `size` says: `run` is given its address and its
/// size, or null and 0.
#[inline]
pub(crate) fn with(
    workspace: Option<&mut Workspace>,
    size: impl Fn(&mut usize) -> sys::attn_status,
    run: impl Fn(*mut c_void, usize) -> sys::attn_status,
) -> Result<()> {
    let workspace = match workspace {
        None => return check(run(ptr::null_mut(), 0)),
        Some(workspace) => workspace,
    };
    let mut first = Ok(());
    if workspace.asked {
        let status = run(workspace.pointer(), workspace.len());
        first = check(status);
        if status != sys::ATTN_ERR_BUFFER {
            return first;
        }
    }
    let mut bytes = 0;
    check(size(&mut bytes))?;
    if workspace.asked && bytes <= workspace.len() {
        return first; // it was another buffer that is too small
    }
    workspace.reserve(bytes)?;
    check(run(workspace.pointer(), workspace.len()))
}
