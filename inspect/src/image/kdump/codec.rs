//! Unpacking one page. The result is as long as it must be, or it is an error:
//! no page makes more than a page.

use miniz_oxide::inflate::decompress_slice_iter_to_slice;

use super::lzo;

/// How a page is packed: bits of a descriptor's flags.
const ZLIB: u32 = 1;
const LZO: u32 = 2;
const SNAPPY: u32 = 4;
const ZSTD: u32 = 0x20;
const METHODS: u32 = ZLIB | LZO | SNAPPY | ZSTD;

/// Fills `page` from `packed`; `None` if that is not what comes out.
pub(super) fn unpack(flags: u32, packed: &[u8], page: &mut [u8]) -> Option<()> {
    let made = match flags & METHODS {
        0 => {
            page.copy_from_slice(packed.get(..page.len())?);
            packed.len()
        }
        ZLIB => decompress_slice_iter_to_slice(page, [packed].into_iter(), true, true).ok()?,
        LZO => lzo::unpack(packed, page)?,
        SNAPPY => {
            if snap::raw::decompress_len(packed).ok()? != page.len() {
                return None;
            }
            snap::raw::Decoder::new().decompress(packed, page).ok()?
        }
        ZSTD => ruzstd::decoding::FrameDecoder::new()
            .decode_all(packed, page)
            .ok()?,
        _ => return None,
    };
    (made == page.len()).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    fn page() -> Vec<u8> {
        (0..4096u32).map(|at| (at * at / 64) as u8).collect()
    }

    fn packed(flags: u32, page: &[u8]) -> Vec<u8> {
        match flags {
            ZLIB => miniz_oxide::deflate::compress_to_vec_zlib(page, 1),
            LZO => lzokay_native::compress(page).unwrap(),
            SNAPPY => snap::raw::Encoder::new().compress_vec(page).unwrap(),
            ZSTD => compress_to_vec(page, CompressionLevel::Fastest),
            _ => page.to_vec(),
        }
    }

    #[test]
    fn every_method_gives_the_page_back() {
        for flags in [0, ZLIB, LZO, SNAPPY, ZSTD] {
            let mut out = vec![0; 4096];
            assert_eq!(unpack(flags, &packed(flags, &page()), &mut out), Some(()));
            assert_eq!(out, page(), "method {flags}");
        }
    }

    #[test]
    fn pages_that_are_too_long_or_too_short_are_refused() {
        let bomb = vec![0; 1 << 22];
        for flags in [ZLIB, LZO, SNAPPY, ZSTD] {
            let mut out = vec![0; 4096];
            assert_eq!(unpack(flags, &packed(flags, &bomb), &mut out), None, "{flags}");
            assert_eq!(unpack(flags, &packed(flags, &bomb[..100]), &mut out), None);
        }
    }

    #[test]
    fn damage_is_an_error_or_another_page_but_never_a_panic() {
        for flags in [ZLIB, LZO, SNAPPY, ZSTD] {
            let good = packed(flags, &page());
            let mut out = vec![0; 4096];
            for at in 0..good.len().min(600) {
                let mut bad = good.clone();
                bad[at] ^= 0x55;
                let _ = unpack(flags, &bad, &mut out);
                let _ = unpack(flags, &good[..at], &mut out);
            }
        }
    }
}
