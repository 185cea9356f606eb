// SPDX-License-Identifier: BSD-3-Clause
//! What owns a handle of the library's, and gives it back.

/// A type that owns a handle of the library's: made with `own`, destroyed when it is dropped.
macro_rules! handle {
    ($name:ident, $handle:ident, $destroy:ident) => {
        struct $name(std::ptr::NonNull<attn_sys::$handle>);

        // SAFETY: attn.h: a handle belongs to no thread, and any number of threads may use it at once, but for what changes
        // it, which takes a &mut of what this is in.
        unsafe impl Send for $name {}
        unsafe impl Sync for $name {}

        impl $name {
            /// What a create function has just made.
            fn own(handle: *mut attn_sys::$handle) -> Self {
                Self(std::ptr::NonNull::new(handle).expect("a created handle"))
            }
        }

        impl Drop for $name {
            fn drop(&mut self) {
                // SAFETY: nobody else has it. What stands on it in the library keeps it alive there.
                unsafe { attn_sys::$destroy(self.0.as_ptr()) }
            }
        }
    };
}

pub(crate) use handle;
