//! The kernel's table of its own symbols.

use std::collections::HashMap;

use foliant_units::VirtAddr;

use super::error::LinuxError;
use super::kernel::Kernel;

/// More symbols than this are nonsense.
const MOST: u32 = 1 << 23;
/// A symbol takes at least an offset, a length and a token of the kernel's memory.
const LEAST: u64 = 6;
/// Tokens of a name: the kernel's own limit of letters (`KSYM_NAME_LEN`).
const LONGEST: usize = 512;
/// Bytes of packed names read at a time.
const CHUNK: usize = 1 << 16;
const TOKENS: usize = 256;

/// Symbols by name; of several of one name the first.
pub struct Symbols {
    by_name: HashMap<String, VirtAddr>,
}

impl Symbols {
    /// Unpacks the table that VMCOREINFO points to.
    ///
    /// # Errors
    /// If VMCOREINFO does not tell (kernels before 6.0), or the table is damaged.
    pub fn read(kernel: &Kernel<'_>) -> Result<Self, LinuxError> {
        let part = |name: &'static str| {
            let found = kernel.info().symbol(name);
            found.ok_or(LinuxError::NoLine(name))
        };
        let count = kernel.u32(part("kallsyms_num_syms")?)?;
        // Tables that map one page many times could make any number of them.
        let memory = kernel.image().frames().saturating_mul(4096);
        if count > MOST || u64::from(count) * LEAST > memory {
            return Err(LinuxError::Nonsense("symbols"));
        }
        let tokens = Tokens::read(
            kernel,
            part("kallsyms_token_table")?,
            part("kallsyms_token_index")?,
        )?;
        let base = kernel.long(part("kallsyms_relative_base")?)?;
        let mut offsets = vec![0; count as usize * 4];
        kernel.read(part("kallsyms_offsets")?, &mut offsets)?;
        let (offsets, _) = offsets.as_chunks::<4>();

        let mut names = Names {
            kernel,
            at: part("kallsyms_names")?,
            bytes: Vec::new(),
            used: 0,
        };
        // Kernels with per-CPU symbols at absolute addresses mark the others by
        // a negative offset; in the others offsets are never negative.
        let signed = offsets.iter().any(|&raw| i32::from_le_bytes(raw) < 0);
        let mask = if kernel.is_wide() { !0 } else { u64::from(u32::MAX) };
        let mut by_name = HashMap::with_capacity(count as usize);
        for &raw in offsets {
            let offset = i32::from_le_bytes(raw);
            let address = match (signed, offset) {
                (true, 0..) => offset as u64,
                (true, _) => base.wrapping_sub(1).wrapping_sub(offset as i64 as u64),
                (false, _) => base.wrapping_add(offset as u32 as u64),
            };
            let name = names.next(&tokens)?;
            // The first letter is the symbol's kind.
            let name = name.get(1..).unwrap_or_default().to_owned();
            by_name.entry(name).or_insert(VirtAddr::new(address & mask));
        }
        Ok(Self { by_name })
    }

    /// The address of a symbol.
    pub fn get(&self, name: &str) -> Option<VirtAddr> {
        self.by_name.get(name).copied()
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }
}

/// Frequent pieces of names.
struct Tokens(Vec<String>);

impl Tokens {
    fn read(kernel: &Kernel<'_>, table: VirtAddr, index: VirtAddr) -> Result<Self, LinuxError> {
        let mut places = [0; TOKENS * 2];
        kernel.read(index, &mut places)?;
        let (places, _) = places.as_chunks::<2>();
        let tokens = places.iter().map(|&place| {
            let place = u16::from_le_bytes(place);
            let at = VirtAddr::new(table.raw().wrapping_add(place.into()));
            kernel.text(at, 64)
        });
        tokens.collect::<Result<_, _>>().map(Self)
    }
}

/// Names, each as a length and numbers of tokens.
struct Names<'a> {
    kernel: &'a Kernel<'a>,
    at: VirtAddr,
    bytes: Vec<u8>,
    used: usize,
}

impl Names<'_> {
    fn byte(&mut self) -> Result<u8, LinuxError> {
        if self.used == self.bytes.len() {
            // To the end of a page, so that nothing beyond the table is needed.
            let len = CHUNK - self.at.raw() as usize % CHUNK;
            self.bytes.resize(len, 0);
            let mut read = 0;
            while read < len {
                let at = VirtAddr::new(self.at.raw().wrapping_add(read as u64));
                let page = 4096 - at.raw() as usize % 4096;
                let end = (read + page).min(len);
                if let Err(why) = self.kernel.read(at, &mut self.bytes[read..end]) {
                    if read == 0 {
                        return Err(why);
                    }
                    break;
                }
                read = end;
            }
            self.bytes.truncate(read);
            self.at = VirtAddr::new(self.at.raw().wrapping_add(read as u64));
            self.used = 0;
        }
        self.used += 1;
        Ok(self.bytes[self.used - 1])
    }

    fn next(&mut self, tokens: &Tokens) -> Result<String, LinuxError> {
        let first = usize::from(self.byte()?);
        // Since 6.1 a length may have two bytes.
        let len = if first & 0x80 == 0 {
            first
        } else {
            first & 0x7f | usize::from(self.byte()?) << 7
        };
        if len > LONGEST {
            return Err(LinuxError::Nonsense("symbols"));
        }
        let mut name = String::new();
        for _ in 0..len {
            let token = usize::from(self.byte()?);
            name.push_str(&tokens.0[token]);
        }
        Ok(name)
    }
}
