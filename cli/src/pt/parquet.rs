//! A Parquet file of mappings: one row group, plain and unpacked, so that it
//! takes a screen of code and no dependency. (Format: the Apache Parquet
//! specification; its metadata is Thrift's compact protocol.)

use std::io::{self, Write};

use foliant_inspect::listing::Mapping;

const MAGIC: &[u8; 4] = b"PAR1";

/// Physical types.
const BOOLEAN: i64 = 0;
const INT64: i64 = 2;
const BYTE_ARRAY: i64 = 6;
/// Converted types.
const UTF8: i64 = 0;
const UINT_64: i64 = 14;
/// Encodings.
const PLAIN: i64 = 0;
const RLE: i64 = 3;
/// Kinds of Thrift's fields.
const I32: u8 = 5;
const I64: u8 = 6;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const STRUCT: u8 = 12;

/// One column's values.
enum Values {
    Numbers(Vec<u64>),
    Truths(Vec<bool>),
    Texts(Vec<String>),
}

struct Column {
    name: &'static str,
    values: Values,
}

/// Rows, by column.
pub(super) struct Table {
    rows: i64,
    columns: Vec<Column>,
}

impl Default for Table {
    fn default() -> Self {
        let number = |name| Column {
            name,
            values: Values::Numbers(Vec::new()),
        };
        let truth = |name| Column {
            name,
            values: Values::Truths(Vec::new()),
        };
        let text = |name| Column {
            name,
            values: Values::Texts(Vec::new()),
        };
        let columns = vec![
            number("start"),
            number("last"),
            number("memory"),
            number("bytes"),
            number("page"),
            text("level"),
            truth("user"),
            truth("write"),
            truth("execute"),
            text("flags"),
        ];
        Self { rows: 0, columns }
    }
}

impl Table {
    pub(super) fn push(&mut self, mapping: &Mapping) {
        self.rows += 1;
        let mut numbers = [
            mapping.start.raw(),
            mapping.last().raw(),
            mapping.memory.raw(),
            mapping.len,
            mapping.page,
        ]
        .into_iter();
        let mut truths = [mapping.can.user, mapping.can.write, mapping.can.execute].into_iter();
        let mut texts = [mapping.level, mapping.words.as_str()].into_iter();
        for column in &mut self.columns {
            match &mut column.values {
                Values::Numbers(all) => all.extend(numbers.next()),
                Values::Truths(all) => all.extend(truths.next()),
                Values::Texts(all) => all.extend(texts.next().map(str::to_owned)),
            }
        }
    }

    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(MAGIC)?;
        let mut at = MAGIC.len() as i64;
        let mut chunks = Vec::new();
        for column in &self.columns {
            let data = column.values.plain();
            let header = self.page_header(data.len() as i64);
            out.write_all(&header)?;
            out.write_all(&data)?;
            let size = (header.len() + data.len()) as i64;
            chunks.push((at, size));
            at += size;
        }
        let footer = self.footer(&chunks);
        out.write_all(&footer)?;
        out.write_all(&(footer.len() as u32).to_le_bytes())?;
        out.write_all(MAGIC)
    }

    fn page_header(&self, size: i64) -> Vec<u8> {
        let mut header = Thrift::default();
        header.number(1, I32, 0);
        header.number(2, I32, size);
        header.number(3, I32, size);
        header.open(5);
        header.number(1, I32, self.rows);
        header.number(2, I32, PLAIN);
        header.number(3, I32, RLE);
        header.number(4, I32, RLE);
        header.close();
        header.close();
        header.bytes
    }

    fn footer(&self, chunks: &[(i64, i64)]) -> Vec<u8> {
        let mut footer = Thrift::default();
        footer.number(1, I32, 1);
        footer.list(2, STRUCT, self.columns.len() + 1);
        footer.begin();
        footer.text(4, "mappings");
        footer.number(5, I32, self.columns.len() as i64);
        footer.close();
        for column in &self.columns {
            let (kind, converted) = column.values.kind();
            footer.begin();
            footer.number(1, I32, kind);
            // Required.
            footer.number(3, I32, 0);
            footer.text(4, column.name);
            if let Some(converted) = converted {
                footer.number(6, I32, converted);
            }
            footer.close();
        }
        footer.number(3, I64, self.rows);
        footer.list(4, STRUCT, 1);
        footer.begin();
        footer.list(1, STRUCT, chunks.len());
        for (column, &(at, size)) in self.columns.iter().zip(chunks) {
            footer.begin();
            footer.number(2, I64, at);
            footer.open(3);
            footer.number(1, I32, column.values.kind().0);
            footer.list(2, I32, 1);
            footer.zigzag(PLAIN);
            footer.list(3, BINARY, 1);
            footer.raw_text(column.name);
            footer.number(4, I32, 0);
            footer.number(5, I64, self.rows);
            footer.number(6, I64, size);
            footer.number(7, I64, size);
            footer.number(9, I64, at);
            footer.close();
            footer.close();
        }
        footer.number(2, I64, chunks.iter().map(|(_, size)| size).sum());
        footer.number(3, I64, self.rows);
        footer.close();
        footer.text(6, concat!("foliant ", env!("CARGO_PKG_VERSION")));
        footer.close();
        footer.bytes
    }
}

impl Values {
    fn kind(&self) -> (i64, Option<i64>) {
        match self {
            Self::Numbers(_) => (INT64, Some(UINT_64)),
            Self::Truths(_) => (BOOLEAN, None),
            Self::Texts(_) => (BYTE_ARRAY, Some(UTF8)),
        }
    }

    fn plain(&self) -> Vec<u8> {
        match self {
            Self::Numbers(all) => all.iter().flat_map(|number| number.to_le_bytes()).collect(),
            Self::Truths(all) => {
                let bits = |eight: &[bool]| {
                    let set = eight.iter().enumerate().filter(|(_, is)| **is);
                    set.fold(0u8, |byte, (bit, _)| byte | 1 << bit)
                };
                all.chunks(8).map(bits).collect()
            }
            Self::Texts(all) => {
                let text = |text: &String| {
                    let len = (text.len() as u32).to_le_bytes();
                    len.into_iter().chain(text.bytes()).collect::<Vec<_>>()
                };
                all.iter().flat_map(text).collect()
            }
        }
    }
}

/// Writes structures in Thrift's compact protocol.
#[derive(Default)]
struct Thrift {
    bytes: Vec<u8>,
    /// The last field written of each open structure; the first is the file's.
    last: Vec<u8>,
    own: u8,
}

impl Thrift {
    fn field(&mut self, number: u8, kind: u8) {
        let last = self.last.last_mut().unwrap_or(&mut self.own);
        // Fields ascend by less than sixteen everywhere here.
        self.bytes.push((number - *last) << 4 | kind);
        *last = number;
    }

    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.bytes.push(number as u8);
    }

    fn zigzag(&mut self, number: i64) {
        self.varint((number << 1 ^ number >> 63) as u64);
    }

    fn number(&mut self, field: u8, kind: u8, number: i64) {
        self.field(field, kind);
        self.zigzag(number);
    }

    fn text(&mut self, field: u8, text: &str) {
        self.field(field, BINARY);
        self.raw_text(text);
    }

    fn raw_text(&mut self, text: &str) {
        self.varint(text.len() as u64);
        self.bytes.extend(text.bytes());
    }

    fn list(&mut self, field: u8, kind: u8, len: usize) {
        self.field(field, LIST);
        if len < 15 {
            self.bytes.push((len as u8) << 4 | kind);
        } else {
            self.bytes.push(0xf0 | kind);
            self.varint(len as u64);
        }
    }

    /// A structure in a field.
    fn open(&mut self, field: u8) {
        self.field(field, STRUCT);
        self.begin();
    }

    /// A structure in a list.
    fn begin(&mut self) {
        self.last.push(0);
    }

    fn close(&mut self) {
        self.last.pop();
        self.bytes.push(0);
    }
}
