//! An export's bytes: opened, unpacked, and digested on the way.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, Write};
use std::sync::{Arc, Mutex, PoisonError};

use flate2::read::MultiGzDecoder;
use tokio::runtime::Handle;

use super::{Compression, Export, Place};
use crate::error::{Context, Result};

const READ_BYTES: usize = 1 << 20;

/// The digest of the bytes read so far, as they lie in the file.
#[derive(Clone, Default)]
pub struct Digest(Arc<Mutex<blake3::Hasher>>);

impl Digest {
    pub fn hex(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).finalize().to_hex().to_string()
    }

    fn update(&self, bytes: &[u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).update(bytes);
    }
}

struct Digesting<R> {
    inner: R,
    digest: Digest,
    advance: Box<dyn Fn(u64) + Send>,
}

impl<R: Read> Read for Digesting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.digest.update(&buffer[..read]);
        (self.advance)(read as u64);
        Ok(read)
    }
}

/// The unpacked bytes; `digest` is complete when they have been read to the end. `advance` hears of packed bytes.
pub fn open(
    export: &Export,
    runtime: &Handle,
    digest: Digest,
    advance: impl Fn(u64) + Send + 'static,
) -> Result<Box<dyn Read + Send>> {
    let raw = Digesting { inner: open_raw(export, runtime)?, digest, advance: Box::new(advance) };
    Ok(match export.compression {
        Compression::None => Box::new(raw),
        Compression::Gzip => Box::new(MultiGzDecoder::new(BufReader::with_capacity(READ_BYTES, raw))),
        Compression::Zstd => Box::new(zstd::Decoder::new(raw).context("open the zstd stream")?),
    })
}

/// The export as a file on this machine, for formats that need random access, and its digest.
pub fn open_file(
    export: &Export,
    runtime: &Handle,
    digest: Digest,
    advance: impl Fn(u64) + Send + 'static,
) -> Result<File> {
    let mut raw = Digesting { inner: open_raw(export, runtime)?, digest, advance: Box::new(advance) };
    match &export.place {
        Place::File(path) => {
            io::copy(&mut raw, &mut io::sink()).context("read")?;
            File::open(path).context("open")
        }
        _ => {
            let mut file = tempfile::tempfile().context("make a temporary file")?;
            io::copy(&mut raw, &mut file).context("read")?;
            file.flush().and_then(|()| file.rewind()).context("write a temporary file")?;
            Ok(file)
        }
    }
}

/// The digest of an export, by reading all of it.
pub fn digest(export: &Export, runtime: &Handle) -> Result<String> {
    let digest = Digest::default();
    let mut raw = Digesting { inner: open_raw(export, runtime)?, digest: digest.clone(), advance: Box::new(|_| {}) };
    io::copy(&mut raw, &mut io::sink()).with_context(|| format!("read {}", export.stamp.path))?;
    Ok(digest.hex())
}

fn open_raw(export: &Export, runtime: &Handle) -> Result<Box<dyn Read + Send>> {
    Ok(match &export.place {
        Place::File(path) => Box::new(File::open(path).context("open")?),
        Place::Spooled(file) => Box::new(file.reader()),
        Place::Object(store, path) => Box::new(runtime.block_on(store.reader(path, runtime.clone()))?),
    })
}
