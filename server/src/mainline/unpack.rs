//! Expanding an index.
//!
//! Owns which compressions are read, told by their first bytes whatever the name says, and how much memory and how many
//! bytes one may take: who made the file is not trusted.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read};

use liblzma::stream::{CONCATENATED, Stream};

/// Most that an index expands to, bytes. The largest distributions have some 250 MB.
const OPEN_BYTES_MAX: u64 = 1 << 30;
/// What zstd may look back on, as a power of two: 64 MiB. Level 19 takes 8 MiB, which was the most seen.
const ZSTD_WINDOW_LOG_MAX: u32 = 26;
/// What xz may take, bytes: its highest preset (64 MiB to look back on) and what it works with.
const XZ_BYTES_MAX: u64 = 72 << 20;
/// What is read at once, bytes.
const BUFFER_BYTES: usize = 64 * 1024;

/// A file that cannot be expanded here.
#[derive(Debug)]
pub(crate) enum UnpackError {
    /// It cannot be read.
    Io(io::Error),
    /// It is compressed with something else.
    Unknown(&'static str),
}

impl fmt::Display for UnpackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UnpackError::Io(error) => error.fmt(f),
            UnpackError::Unknown(what) => {
                write!(
                    f,
                    "it is {what}: moji reads gzip, zstd and xz (createrepo_c --general-compress-type=gz)"
                )
            }
        }
    }
}

/// What a file expands to, whose reading fails once it is too much.
///
/// # Errors
/// If it cannot be read, or is nothing that is known.
pub(crate) fn open<'a>(file: impl Read + 'a) -> Result<impl BufRead + 'a, UnpackError> {
    open_within(file, OPEN_BYTES_MAX)
}

fn open_within<'a>(file: impl Read + 'a, bytes_max: u64) -> Result<impl BufRead + 'a, UnpackError> {
    let mut file = BufReader::with_capacity(BUFFER_BYTES, file);
    let first = file.fill_buf().map_err(UnpackError::Io)?;
    let reader: Box<dyn Read + 'a> = match first {
        [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(file)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(file).map_err(UnpackError::Io)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(UnpackError::Io)?;
            Box::new(decoder)
        }
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => {
            let stream = Stream::new_stream_decoder(XZ_BYTES_MAX, CONCATENATED);
            let stream = stream.map_err(|error| UnpackError::Io(error.into()))?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(file, stream))
        }
        [b'<' | b' ' | b'\n' | 0xef, ..] => Box::new(file),
        [b'B', b'Z', b'h', ..] => return Err(UnpackError::Unknown("compressed with bzip2")),
        [0, b'Z', b'C', b'K', ..] => return Err(UnpackError::Unknown("compressed with zchunk")),
        [] => return Err(UnpackError::Unknown("empty")),
        _ => return Err(UnpackError::Unknown("neither XML nor compressed in a way that is known")),
    };
    Ok(BufReader::with_capacity(BUFFER_BYTES, Limited { reader, left: bytes_max, bytes_max }))
}

/// Fails where `Read::take` would say that the file is over.
struct Limited<R> {
    reader: R,
    left: u64,
    bytes_max: u64,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.reader.read(buf)?;
        self.left = self.left.checked_sub(n as u64).ok_or_else(|| {
            io::Error::other(format!("it expands to more than {} MiB", self.bytes_max >> 20))
        })?;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn packed(text: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(text).unwrap();
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 6);
        xz.write_all(text).unwrap();
        vec![
            ("plain", text.to_vec()),
            ("gzip", gzip.finish().unwrap()),
            ("zstd", zstd::bulk::compress(text, 3).unwrap()),
            ("xz", xz.finish().unwrap()),
        ]
    }

    fn all(file: &[u8], bytes_max: u64) -> Result<Vec<u8>, String> {
        let mut text = Vec::new();
        let mut open = open_within(file, bytes_max).map_err(|error| error.to_string())?;
        open.read_to_end(&mut text).map_err(|error| error.to_string())?;
        Ok(text)
    }

    #[test]
    fn all_compressions_are_read_and_parts_stand_behind_each_other() {
        let text = b"<a>".repeat(100_000);
        for (name, file) in packed(&text) {
            assert_eq!(all(&file, 1 << 20).unwrap(), text, "{name}");
            let twice = [&file[..], &file[..]].concat();
            assert_eq!(all(&twice, 1 << 20).unwrap().len(), 2 * text.len(), "{name}");
        }
    }

    #[test]
    fn bombs_are_too_large_and_cut_files_are_damaged() {
        let zeros = [b"<".to_vec(), vec![0; 64 << 20]].concat();
        for (name, file) in packed(&zeros).split_off(1) {
            assert!(file.len() < 1 << 20, "{name}");
            let error = all(&file, 32 << 20).unwrap_err();
            assert_eq!(error, "it expands to more than 32 MiB", "{name}");
            assert!(all(&file[..file.len() / 2], 1 << 30).is_err(), "{name}");
        }
    }

    #[test]
    fn what_wants_too_much_memory_is_refused() {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(27).unwrap();
        encoder.write_all(b"<a/>").unwrap();
        assert!(all(&encoder.finish().unwrap(), 1 << 20).unwrap_err().contains("too much memory"));
        let mut options = liblzma::stream::LzmaOptions::new_preset(0).unwrap();
        options.dict_size(512 << 20);
        let mut filters = liblzma::stream::Filters::new();
        filters.lzma2(&options);
        let stream = Stream::new_stream_encoder(&filters, liblzma::stream::Check::Crc64).unwrap();
        let mut encoder = liblzma::write::XzEncoder::new_stream(Vec::new(), stream);
        encoder.write_all(b"<a/>").unwrap();
        assert!(all(&encoder.finish().unwrap(), 1 << 20).unwrap_err().contains("memory"));
    }

    #[test]
    fn other_compressions_are_named() {
        for (file, word) in [
            (&b"BZh91AY&SY"[..], "bzip2"),
            (b"\0ZCK1abc", "zchunk"),
            (b"", "empty"),
            (b"SQLite format 3", "neither"),
        ] {
            assert!(all(file, 1).unwrap_err().contains(word), "{word}");
        }
    }
}
