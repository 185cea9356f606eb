// SPDX-License-Identifier: BSD-3-Clause
//! The engine: threads, the way to compute, the kernels, where memory comes from.

use crate::error::{check, Error, Result, Status};
use crate::handle::handle;
use attn_sys as sys;
use std::alloc;
use std::ffi::{CStr, CString};
use std::fmt;
use std::os::raw::{c_char, c_void};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::ptr;
use std::sync::Arc;

/// How to compute. The numbers mean the same either way, and differ by roundings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// What suits the machine and the call.
    Automatic,
    /// Whole matrices, through the BLAS: complete, on every machine.
    Blas,
    /// Fused tiles, for the softmax of `f32`; what they do not take goes through the BLAS.
    Tiles,
}

/// How urgent a sentence for the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// It is good to know.
    Info,
    /// Something is slower than it could be, or odd.
    Warning,
}

type Log<'a> = Box<dyn FnMut(LogLevel, &str) + 'a>;

/// How an engine is made; what is not said is the library's choice.
///
/// ```
/// # fn main() -> attn::Result<()> {
/// let engine = attn::EngineOptions::new().threads(1).way(attn::Way::Blas).create()?;
/// assert!(engine.describe()?.contains("\"threads\":1"));
/// # Ok(()) }
/// ```
#[derive(Default)]
pub struct EngineOptions<'a> {
    threads: usize,
    way: Option<Way>,
    kernels: Option<&'a str>,
    rust_allocator: bool,
    log: Option<Log<'a>>,
}

impl fmt::Debug for EngineOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineOptions")
            .field("threads", &self.threads)
            .field("way", &self.way)
            .field("kernels", &self.kernels)
            .finish_non_exhaustive()
    }
}

impl<'a> EngineOptions<'a> {
    /// Nothing is said yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many threads compute, the caller's included; at most 1024. 0: one for each CPU that the process may use.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// The way to compute; where it is automatic, the environment variable `ATTN_WAY` may name another.
    pub fn way(mut self, way: Way) -> Self {
        self.way = Some(way);
        self
    }

    /// The instruction set: "portable", or "avx2" or "avx512" on x86-64, "neon" on 64-bit ARM. Otherwise it is what
    /// `ATTN_KERNELS` names, or the widest that the CPU has.
    pub fn kernels(mut self, kernels: &'a str) -> Self {
        self.kernels = Some(kernels);
        self
    }

    /// Memory comes from the program's `#[global_allocator]`, not from the C library.
    pub fn rust_allocator(mut self) -> Self {
        self.rust_allocator = true;
        self
    }

    /// Is called, while the engine is created, with what there is to say of this machine. A panic in it is dropped.
    pub fn log(mut self, log: impl FnMut(LogLevel, &str) + 'a) -> Self {
        self.log = Some(Box::new(log));
        self
    }

    /// Creates the engine. Its threads start when they are first needed.
    ///
    /// # Errors
    ///
    /// `Argument`: threads out of range, an unknown word in `ATTN_WAY`. `Unsupported`: kernels that the library or the CPU
    /// has not; a library of another binary interface. `OutOfMemory`.
    pub fn create(mut self) -> Result<Engine> {
        // SAFETY: it takes nothing.
        let abi = unsafe { sys::attn_abi_version() };
        if abi != sys::ATTN_ABI_VERSION {
            let sentence = format!(
                "the library has the binary interface {abi}, but this program is written for {}",
                sys::ATTN_ABI_VERSION
            );
            return Err(Error::new(Status::Unsupported, sentence));
        }
        let kernels = self.kernels.map(c_string).transpose()?;
        let mut options = sys::attn_engine_options {
            threads: i32::try_from(self.threads).unwrap_or(i32::MAX),
            way: match self.way {
                None | Some(Way::Automatic) => sys::ATTN_WAY_AUTOMATIC,
                Some(Way::Blas) => sys::ATTN_WAY_BLAS,
                Some(Way::Tiles) => sys::ATTN_WAY_TILES,
            },
            kernels: kernels.as_ref().map_or(ptr::null(), |k| k.as_ptr()),
            ..Default::default()
        };
        if self.rust_allocator {
            options.allocate = Some(allocate);
            options.release = Some(release);
        }
        if let Some(log) = &mut self.log {
            options.log = Some(forward_log);
            options.log_data = log as *mut Log<'a> as *mut c_void;
        }
        let mut handle = ptr::null_mut();
        // SAFETY: the options live until it returns, and the log is used no longer.
        check(unsafe { sys::attn_engine_create(&options, &mut handle) })?;
        Ok(Engine(Arc::new(Raw::own(handle))))
    }
}

/// A string for the library.
pub(crate) fn c_string(text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| {
        let sentence = format!("{text:?} has a zero byte in it");
        Error::new(Status::Argument, sentence)
    })
}

const ALIGNMENT: usize = 64; // the greatest that the library asks for

unsafe extern "C" fn allocate(_: *mut c_void, bytes: usize, _: usize) -> *mut c_void {
    match alloc::Layout::from_size_align(bytes, ALIGNMENT) {
        Ok(layout) if bytes > 0 => alloc::alloc(layout) as *mut c_void,
        _ => ptr::null_mut(),
    }
}

unsafe extern "C" fn release(_: *mut c_void, pointer: *mut c_void, bytes: usize) {
    let layout = alloc::Layout::from_size_align_unchecked(bytes, ALIGNMENT);
    alloc::dealloc(pointer as *mut u8, layout);
}

unsafe extern "C" fn forward_log(data: *mut c_void, level: i32, message: *const c_char) {
    let level = if level >= sys::ATTN_LOG_WARNING {
        LogLevel::Warning
    } else {
        LogLevel::Info
    };
    let log = &mut *(data as *mut Log<'_>);
    let message = CStr::from_ptr(message).to_string_lossy();
    let _ = catch_unwind(AssertUnwindSafe(|| log(level, &message)));
}

handle!(Raw, attn_engine, attn_engine_destroy);

/// The means to compute: threads, an allocator, the BLAS. There is no global state behind it. A clone is the same engine;
/// whatever is made with it keeps it alive.
///
/// It is `Send` and `Sync`: any number of threads may use one engine at the same time.
#[derive(Clone)]
pub struct Engine(Arc<Raw>);

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}

impl Engine {
    /// An engine with all defaults: [`EngineOptions`] has others.
    ///
    /// # Errors
    ///
    /// As [`EngineOptions::create`].
    pub fn new() -> Result<Self> {
        EngineOptions::new().create()
    }

    /// Describes the engine as a JSON object: the library's version, way, threads, kernels, the CPU and its features, the
    /// BLAS, and whether that suits the CPU.
    ///
    /// # Errors
    ///
    /// None that is expected.
    pub fn describe(&self) -> Result<String> {
        let mut bytes = 0;
        // SAFETY: the text is only asked for its size, then written into so much room.
        check(unsafe { sys::attn_engine_describe(self.raw(), ptr::null_mut(), &mut bytes) })?;
        let mut text = vec![0u8; bytes];
        check(unsafe {
            sys::attn_engine_describe(self.raw(), text.as_mut_ptr() as *mut c_char, &mut bytes)
        })?;
        text.truncate(bytes.saturating_sub(1));
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    #[inline]
    pub(crate) fn raw(&self) -> *mut sys::attn_engine {
        self.0 .0.as_ptr()
    }
}

/// The version of the library that is loaded, as "major.minor.patch".
pub fn version() -> &'static str {
    // SAFETY: a static string of ASCII.
    let version = unsafe { CStr::from_ptr(sys::attn_version()) };
    version.to_str().unwrap_or("")
}
