//! Makes archives, honest and forged ones: every field can be anything.

/// An archive in the making.
#[derive(Clone, Default)]
pub struct Forge {
    bytes: Vec<u8>,
}

/// A header block in the making, POSIX ustar unless its magic is overwritten.
#[derive(Clone)]
pub struct Header {
    pub block: [u8; 512],
}

impl Header {
    pub fn new(flag: u8, path: &str) -> Header {
        let mut header = Header { block: [0; 512] };
        header.set(257, b"ustar\x0000").set(156, &[flag]);
        if path.len() <= 100 {
            header.set(0, path.as_bytes());
        } else {
            // Only for paths that can be split there.
            let slash = path[..155].rfind('/').unwrap();
            header.set(345, &path.as_bytes()[..slash]).set(0, &path.as_bytes()[slash + 1..]);
        }
        header.number(100, 8, 0o644).number(108, 8, 0).number(116, 8, 0);
        header.number(124, 12, 0).number(136, 12, 1_000_000_000);
        header
    }

    pub fn set(&mut self, at: usize, bytes: &[u8]) -> &mut Header {
        self.block[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    pub fn number(&mut self, at: usize, len: usize, value: u64) -> &mut Header {
        let text = format!("{value:0width$o}\0", width = len - 1);
        self.set(at, text.as_bytes())
    }

    pub fn mode(&mut self, mode: u32) -> &mut Header {
        self.number(100, 8, mode.into())
    }

    pub fn owner(&mut self, uid: u64, gid: u64) -> &mut Header {
        self.number(108, 8, uid).number(116, 8, gid)
    }

    pub fn size(&mut self, size: u64) -> &mut Header {
        self.number(124, 12, size)
    }

    pub fn link(&mut self, target: &str) -> &mut Header {
        self.set(157, target.as_bytes())
    }

    pub fn device(&mut self, major: u64, minor: u64) -> &mut Header {
        self.number(329, 8, major).number(337, 8, minor)
    }
}

impl Forge {
    pub fn new() -> Forge {
        Forge::default()
    }

    /// Adds a header with its right checksum.
    pub fn header(&mut self, header: &Header) -> &mut Forge {
        let mut block = header.block;
        block[148..156].fill(b' ');
        let sum: u64 = block.iter().map(|&byte| u64::from(byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.raw(&block)
    }

    pub fn raw(&mut self, bytes: &[u8]) -> &mut Forge {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// Adds content and its padding.
    pub fn content(&mut self, bytes: &[u8]) -> &mut Forge {
        self.raw(bytes);
        self.raw(&vec![0; bytes.len().wrapping_neg() % 512])
    }

    pub fn file(&mut self, path: &str, content: &[u8]) -> &mut Forge {
        self.header(Header::new(b'0', path).size(content.len() as u64)).content(content)
    }

    pub fn dir(&mut self, path: &str, mode: u32) -> &mut Forge {
        self.header(Header::new(b'5', path).mode(mode))
    }

    pub fn symlink(&mut self, path: &str, target: &str) -> &mut Forge {
        self.header(Header::new(b'2', path).link(target))
    }

    pub fn hard_link(&mut self, path: &str, target: &str) -> &mut Forge {
        self.header(Header::new(b'1', path).link(target))
    }

    pub fn device(&mut self, flag: u8, path: &str, major: u64, minor: u64) -> &mut Forge {
        self.header(Header::new(flag, path).device(major, minor))
    }

    /// Adds a header of type `x` or `g`.
    pub fn pax(&mut self, flag: u8, records: &[(&str, &[u8])]) -> &mut Forge {
        let payload: Vec<u8> = records.iter().flat_map(|(key, value)| record(key, value)).collect();
        self.extended(flag, &payload)
    }

    /// Adds an extended header of any type with any payload.
    pub fn extended(&mut self, flag: u8, payload: &[u8]) -> &mut Forge {
        self.header(Header::new(flag, "././@Extended").size(payload.len() as u64)).content(payload)
    }

    /// The archive without its end marker.
    pub fn open_end(&self) -> Vec<u8> {
        self.bytes.clone()
    }

    /// The archive with its end marker.
    pub fn end(&self) -> Vec<u8> {
        [&self.bytes[..], &[0; 1024]].concat()
    }
}

fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut len = rest + 1;
    while rest + len.to_string().len() != len {
        len = rest + len.to_string().len();
    }
    [format!("{len} {key}=").as_bytes(), value, b"\n"].concat()
}
