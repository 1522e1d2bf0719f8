//! The media type of a body by its first bytes, as Go finds it: the WHATWG's MIME Sniffing,
//! with Go's choice of types.

/// Bytes that are looked at.
const MOST: usize = 512;

/// Tags that begin an HTML document, after blanks, and before a blank or `>`.
const HTML: [&str; 17] = [
    "<!DOCTYPE HTML",
    "<HTML",
    "<HEAD",
    "<SCRIPT",
    "<IFRAME",
    "<H1",
    "<DIV",
    "<FONT",
    "<TABLE",
    "<A",
    "<STYLE",
    "<TITLE",
    "<B",
    "<BODY",
    "<BR",
    "<P",
    "<!--",
];

/// Bytes at the start, a dot for any, and the type they mean. In order: the first that fits.
const STARTS: [(&[u8], &str); 32] = [
    (b"%PDF-", "application/pdf"),
    (b"%!PS-Adobe-", "application/postscript"),
    (b"\xFE\xFF", "text/plain; charset=utf-16be"),
    (b"\xFF\xFE", "text/plain; charset=utf-16le"),
    (b"\xEF\xBB\xBF", "text/plain; charset=utf-8"),
    (b"\x00\x00\x01\x00", "image/x-icon"),
    (b"\x00\x00\x02\x00", "image/x-icon"),
    (b"BM", "image/bmp"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"RIFF....WEBPVP", "image/webp"),
    (b"\x89PNG\x0D\x0A\x1A\x0A", "image/png"),
    (b"\xFF\xD8\xFF", "image/jpeg"),
    (b"FORM....AIFF", "audio/aiff"),
    (b"ID3", "audio/mpeg"),
    (b"OggS\x00", "application/ogg"),
    (b"MThd\x00\x00\x00\x06", "audio/midi"),
    (b"RIFF....AVI ", "video/avi"),
    (b"RIFF....WAVE", "audio/wave"),
    (MP4, "video/mp4"),
    (b"\x1A\x45\xDF\xA3", "video/webm"),
    (EOT, "application/vnd.ms-fontobject"),
    (b"\x00\x01\x00\x00", "font/ttf"),
    (b"OTTO", "font/otf"),
    (b"ttcf", "font/collection"),
    (b"wOFF", "font/woff"),
    (b"wOF2", "font/woff2"),
    (b"\x1F\x8B\x08", "application/x-gzip"),
    (b"PK\x03\x04", "application/zip"),
    (b"Rar!\x1A\x07\x00", "application/x-rar-compressed"),
    (b"Rar!\x1A\x07\x01\x00", "application/x-rar-compressed"),
    (b"\x00\x61\x73\x6D", "application/wasm"),
];

/// Stands for the search in [`is_mp4`].
const MP4: &[u8] = b"....ftyp";

/// 34 bytes of any kind, then `LP`.
const EOT: &[u8] = b"..................................LP";

/// The type; `application/octet-stream` when nothing fits.
pub(super) fn media_type(body: &[u8]) -> &'static str {
    let body = body.get(..MOST).unwrap_or(body);
    let text = body.trim_ascii_start();
    if HTML.iter().any(|tag| begins_with_tag(text, tag.as_bytes())) {
        return "text/html; charset=utf-8";
    }
    if text.starts_with(b"<?xml") {
        return "text/xml; charset=utf-8";
    }
    let found =
        STARTS.iter().find(|(start, _)| fits(body, start) && (*start != MP4 || is_mp4(body)));
    match found {
        Some((_, media_type)) => media_type,
        None if text.iter().copied().any(is_binary) => "application/octet-stream",
        None => "text/plain; charset=utf-8",
    }
}

fn begins_with_tag(text: &[u8], tag: &[u8]) -> bool {
    let Some((start, rest)) = text.split_at_checked(tag.len()) else { return false };
    start.eq_ignore_ascii_case(tag) && matches!(rest.first(), Some(b' ' | b'>'))
}

fn fits(body: &[u8], start: &[u8]) -> bool {
    body.len() >= start.len()
        && body.iter().zip(start).all(|(byte, wanted)| *wanted == b'.' || byte == wanted)
}

/// Whether the box at the start names a brand of MP4 (its version, at 12, is none).
fn is_mp4(body: &[u8]) -> bool {
    let Some(size) = body.first_chunk::<4>() else { return false };
    let size = u32::from_be_bytes(*size) as usize;
    let Some(whole) = body.get(..size).filter(|whole| whole.len() >= 12 && size.is_multiple_of(4))
    else {
        return false;
    };
    let brands = whole.chunks_exact(4).enumerate().skip(2).filter(|(at, _)| *at != 3);
    brands.into_iter().any(|(_, brand)| brand.starts_with(b"mp4"))
}

/// A byte that no text holds.
fn is_binary(byte: u8) -> bool {
    matches!(byte, 0..=8 | 0x0B | 0x0E..=0x1A | 0x1C..=0x1F)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_those_of_go() {
        for (body, media_type) in [
            (&b"  \r\n<!doctype HTML>"[..], "text/html; charset=utf-8"),
            (b"<p >", "text/html; charset=utf-8"),
            (b"<!-->", "text/html; charset=utf-8"),
            (b"<p", "text/plain; charset=utf-8"),
            (b"<pre>", "text/plain; charset=utf-8"),
            (b"\t<?xml version=\"1.0\"?>", "text/xml; charset=utf-8"),
            (b"{\"a\": 1}", "text/plain; charset=utf-8"),
            (b"plain", "text/plain; charset=utf-8"),
            (b"caf\xC3\xA9 \xE9\x1B", "text/plain; charset=utf-8"),
            (b"\xFE\xFFa", "text/plain; charset=utf-16be"),
            (b"\xEF\xBB\xBFa", "text/plain; charset=utf-8"),
            (b"a\x00", "application/octet-stream"),
            (b"a\x1F", "application/octet-stream"),
            (b"%PDF-1.7", "application/pdf"),
            (b" %PDF-1.7", "text/plain; charset=utf-8"),
            (b"\x89PNG\x0D\x0A\x1A\x0A....", "image/png"),
            (b"GIF89a", "image/gif"),
            (b"RIFF\x01\x02\x03\x04WEBPVP8 ", "image/webp"),
            (b"RIFF\x01\x02\x03\x04WAVEfmt", "audio/wave"),
            (b"\x00\x00\x00\x14ftypmp42\x00\x00\x00\x00isom", "video/mp4"),
            (b"\x00\x00\x00\x14ftypisom\x00\x00\x00\x00mp41", "video/mp4"),
            (b"\x00\x00\x00\x10ftypisommp41", "application/octet-stream"),
            (b"\x00\x00\x00\x14ftypisom", "application/octet-stream"),
            (b"\x1A\x45\xDF\xA3", "video/webm"),
            (b"wOF2", "font/woff2"),
            (b"\x1F\x8B\x08\x00", "application/x-gzip"),
            (b"PK\x03\x04", "application/zip"),
            (b"\x00asm", "application/wasm"),
            (b"0123456789012345678901234567890123LP", "application/vnd.ms-fontobject"),
        ] {
            assert_eq!(super::media_type(body), media_type, "{}", body.escape_ascii());
        }
    }

    proptest::proptest! {
        #[test]
        fn every_body_has_a_type(start in 0..STARTS.len(), rest in proptest::collection::vec(0_u8.., 0..30)) {
            let body = [STARTS[start].0, &rest].concat();

            for end in 0..body.len() {
                proptest::prop_assert!(media_type(&body[..end]).contains('/'));
            }
        }
    }

    #[test]
    fn only_the_first_512_bytes_count() {
        let mut body = vec![b'a'; MOST];
        body.push(0);

        assert_eq!(media_type(&body), "text/plain; charset=utf-8");
    }
}
