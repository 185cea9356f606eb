// SPDX-License-Identifier: BSD-3-Clause
//! What a layer's forward pass keeps for its backward pass.

use crate::error::{Error, Result, Status};
use std::fmt;
use std::os::raw::c_void;

/// What a layer's forward pass keeps for its backward pass: made by [`MultiHead::saved`](crate::MultiHead::saved), written
/// by [`MultiHead::forward`](crate::MultiHead::forward) ([`Outputs::saved`](crate::Outputs::saved)), read by
/// [`MultiHead::backward`](crate::MultiHead::backward).
pub struct Saved {
    bytes: Vec<u8>, // where they are stays the same, which what is in them needs
}

impl fmt::Debug for Saved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Saved({} bytes)", self.bytes.len())
    }
}

impl Saved {
    /// Room for so many bytes.
    pub(crate) fn of(size: usize) -> Result<Self> {
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(size).map_err(|_| {
            let sentence = format!("no memory for the {size} bytes that a layer saves");
            Error::new(Status::OutOfMemory, sentence)
        })?;
        bytes.resize(size, 0);
        Ok(Self { bytes })
    }

    pub(crate) fn size(&self) -> usize {
        self.bytes.len()
    }

    /// To be written.
    pub(crate) fn pointer(&mut self) -> *mut c_void {
        self.bytes.as_mut_ptr() as *mut c_void
    }

    /// To be read alone, whatever its type says.
    pub(crate) fn pointer_to_read(&self) -> *mut c_void {
        self.bytes.as_ptr() as *mut c_void
    }
}
