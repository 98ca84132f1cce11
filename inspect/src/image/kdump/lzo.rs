//! LZO1X, unpacking only: the format is described in the Linux documentation
//! ("LZO stream format as understood by Linux's LZO decompressor").
//!
//! The encoders' crates trust their input; this one must not.

/// Unpacks `packed` into `out`; how much that was, or `None` if `packed` is
/// damaged or `out` too short.
pub(super) fn unpack(packed: &[u8], out: &mut [u8]) -> Option<usize> {
    let mut stream = Stream {
        packed,
        at: 0,
        out,
        made: 0,
    };
    stream.run()?;
    Some(stream.made)
}

struct Stream<'a> {
    packed: &'a [u8],
    at: usize,
    out: &'a mut [u8],
    made: usize,
}

/// A copy of what was unpacked before.
struct Copy {
    distance: usize,
    len: usize,
    /// Literals that follow: 0 to 3, or 4 for many.
    state: u8,
}

/// After a run of at least four literals.
const LONG_RUN: u8 = 4;

impl Stream<'_> {
    fn run(&mut self) -> Option<()> {
        let mut state = self.first()?;
        loop {
            let code = self.byte()?;
            if code < 16 && state == 0 {
                let len = if code == 0 {
                    18 + self.long(255)?
                } else {
                    usize::from(code) + 3
                };
                self.literals(len)?;
                state = LONG_RUN;
                continue;
            }
            let Some(copy) = self.decode(code, state)? else {
                return Some(());
            };
            self.copy(&copy)?;
            self.literals(copy.state.into())?;
            state = copy.state;
        }
    }

    /// The first byte may say that literals come; gives the state after them.
    fn first(&mut self) -> Option<u8> {
        let code = *self.packed.first()?;
        match code {
            0..=17 => Some(0),
            18..=20 => {
                self.at = 1;
                self.literals(usize::from(code) - 17)?;
                Some(code - 17)
            }
            _ => {
                self.at = 1;
                self.literals(usize::from(code) - 17)?;
                Some(LONG_RUN)
            }
        }
    }

    /// What `code` says to copy; `Some(None)` is the end.
    fn decode(&mut self, code: u8, state: u8) -> Option<Option<Copy>> {
        let bits = usize::from(code);
        let trailing = code & 3;
        Some(Some(match code {
            0..=15 => {
                let distance = (usize::from(self.byte()?) << 2) + (bits >> 2);
                let (distance, len) = if state == LONG_RUN {
                    (distance + 2049, 3)
                } else {
                    (distance + 1, 2)
                };
                Copy {
                    distance,
                    len,
                    state: trailing,
                }
            }
            16..=31 => {
                let len = self.length(bits & 7, 7)?;
                let word = self.word()?;
                let distance = 16384 + ((bits & 8) << 11) + (word >> 2);
                if distance == 16384 {
                    return (len == 3).then_some(None);
                }
                Copy {
                    distance,
                    len,
                    state: (word & 3) as u8,
                }
            }
            32..=63 => {
                let len = self.length(bits & 31, 31)?;
                let word = self.word()?;
                Copy {
                    distance: (word >> 2) + 1,
                    len,
                    state: (word & 3) as u8,
                }
            }
            64..=127 => Copy {
                distance: (usize::from(self.byte()?) << 3) + (bits >> 2 & 7) + 1,
                len: 3 + (bits >> 5 & 1),
                state: trailing,
            },
            128.. => Copy {
                distance: (usize::from(self.byte()?) << 3) + (bits >> 2 & 7) + 1,
                len: 5 + (bits >> 5 & 3),
                state: trailing,
            },
        }))
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = *self.packed.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn word(&mut self) -> Option<usize> {
        Some(usize::from(u16::from_le_bytes([self.byte()?, self.byte()?])))
    }

    /// A length of which `bits` are known; all zero means that more follow.
    fn length(&mut self, bits: usize, most: usize) -> Option<usize> {
        Some(match bits {
            0 => 2 + most + self.long(255)?,
            bits => 2 + bits,
        })
    }

    /// Zero bytes count `each`, the first other byte its value.
    fn long(&mut self, each: usize) -> Option<usize> {
        let mut sum = 0usize;
        loop {
            match self.byte()? {
                0 => sum += each,
                last => return Some(sum + usize::from(last)),
            }
        }
    }

    fn literals(&mut self, len: usize) -> Option<()> {
        let from = self.packed.get(self.at..self.at.checked_add(len)?)?;
        let to = self.out.get_mut(self.made..self.made.checked_add(len)?)?;
        to.copy_from_slice(from);
        self.at += len;
        self.made += len;
        Some(())
    }

    /// Source and target may overlap: what was just written is repeated.
    fn copy(&mut self, copy: &Copy) -> Option<()> {
        let start = self.made.checked_sub(copy.distance)?;
        let end = self.made.checked_add(copy.len)?;
        if end > self.out.len() {
            return None;
        }
        for nth in 0..copy.len {
            self.out[self.made + nth] = self.out[start + nth];
        }
        self.made = end;
        Some(())
    }
}
