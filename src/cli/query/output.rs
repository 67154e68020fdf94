//! Where rows go: stdout, or a file that appears when they are all there.

use std::fs::Permissions;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::format::{Format, Style};
use crate::error::{Context, Error, Result};

/// Readable by all whom the umask lets, as files are that a shell makes.
const FILE_MODE: u32 = 0o666;

pub enum Target {
    /// Bytes as they are.
    Stdout(BufWriter<io::Stdout>),
    /// Text whose colours are kept only where they can be seen.
    Terminal(BufWriter<anstream::Stdout>),
    File(BufWriter<NamedTempFile>, PathBuf),
}

impl Target {
    pub fn open(output: Option<&Path>, style: &Style, stdout_is_terminal: bool) -> Result<Self> {
        if let Some(path) = output {
            return Self::file(path);
        }
        if style.format.is_binary() && stdout_is_terminal {
            return Err(Error::usage("a terminal cannot show this format").hint("add --output FILE, or pipe it"));
        }
        Ok(match style.format {
            Format::Table => Target::Terminal(BufWriter::new(anstream::stdout())),
            _ => Target::Stdout(BufWriter::new(io::stdout())),
        })
    }

    fn file(path: &Path) -> Result<Self> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let temporary = tempfile::Builder::new()
            .prefix(".tier-")
            .permissions(Permissions::from_mode(FILE_MODE))
            .tempfile_in(folder)
            .with_context(|| format!("write {}", path.display()))?;
        Ok(Target::File(BufWriter::new(temporary), path.to_owned()))
    }

    /// Makes what was written visible. Dropping a target instead leaves no file.
    pub fn keep(mut self) -> Result<()> {
        self.flush().context("write")?;
        if let Target::File(file, path) = self {
            let temporary = file.into_inner().map_err(io::IntoInnerError::into_error).context("write")?;
            temporary.persist(&path).with_context(|| format!("write {}", path.display()))?;
        }
        Ok(())
    }

    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Target::Stdout(out) => out,
            Target::Terminal(out) => out,
            Target::File(file, _) => file,
        }
    }
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer().flush()
    }
}
