//! What a player is told about a file: its type and how long it may be kept, by the end of its name.

/// What the response head says about an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MediaType {
    /// `Content-Type`.
    pub content_type: &'static str,
    /// `Cache-Control`.
    pub cache_control: &'static str,
}

/// A segment never changes (RFC 8246).
const SEGMENT: &str = "public, max-age=31536000, immutable";
/// A playlist may be published anew: shorter than a usual segment, so that a live edge is not missed.
const PLAYLIST: &str = "public, max-age=5";
/// Pages and pictures beside the media.
const PAGE: &str = "public, max-age=300";

/// Types by extension, without the dot, in small letters.
/// DASH: ISO/IEC 23009-1 annex C, RFC 4337. HLS: RFC 8216 section 4. CMAF: ISO/IEC 23000-19, RFC 6381. WebVTT, TTML: W3C.
#[rustfmt::skip]
const TABLE: &[(&str, &str, &str)] = &[
    // Manifests and playlists.
    ("mpd",  "application/dash+xml",          PLAYLIST),
    ("m3u8", "application/vnd.apple.mpegurl", PLAYLIST),
    ("m3u",  "application/vnd.apple.mpegurl", PLAYLIST),
    ("ism",  "application/vnd.ms-sstr+xml",   PLAYLIST),
    // Segments.
    ("m4s",  "video/iso.segment",             SEGMENT),
    ("m4f",  "video/iso.segment",             SEGMENT),
    ("mp4",  "video/mp4",                     SEGMENT),
    ("m4v",  "video/mp4",                     SEGMENT),
    ("m4a",  "audio/mp4",                     SEGMENT),
    ("cmfv", "video/mp4",                     SEGMENT),
    ("cmfa", "audio/mp4",                     SEGMENT),
    ("cmft", "application/mp4",               SEGMENT),
    ("cmfm", "application/mp4",               SEGMENT),
    ("init", "video/mp4",                     SEGMENT),
    ("ts",   "video/mp2t",                    SEGMENT),
    ("mts",  "video/mp2t",                    SEGMENT),
    ("aac",  "audio/aac",                     SEGMENT),
    ("ac3",  "audio/ac3",                     SEGMENT),
    ("ec3",  "audio/eac3",                    SEGMENT),
    ("mp3",  "audio/mpeg",                    SEGMENT),
    ("flac", "audio/flac",                    SEGMENT),
    ("opus", "audio/ogg",                     SEGMENT),
    ("ogg",  "audio/ogg",                     SEGMENT),
    ("webm", "video/webm",                    SEGMENT),
    ("weba", "audio/webm",                    SEGMENT),
    ("mkv",  "video/matroska",                SEGMENT),
    ("mov",  "video/quicktime",               SEGMENT),
    ("vtt",  "text/vtt",                      SEGMENT),
    ("webvtt", "text/vtt",                    SEGMENT),
    ("ttml", "application/ttml+xml",          SEGMENT),
    ("dfxp", "application/ttml+xml",          SEGMENT),
    ("srt",  "application/x-subrip",          SEGMENT),
    ("key",  "application/octet-stream",      SEGMENT),
    // Beside the media.
    ("jpg",  "image/jpeg",                    PAGE),
    ("jpeg", "image/jpeg",                    PAGE),
    ("png",  "image/png",                     PAGE),
    ("webp", "image/webp",                    PAGE),
    ("avif", "image/avif",                    PAGE),
    ("svg",  "image/svg+xml",                 PAGE),
    ("html", "text/html; charset=utf-8",      PAGE),
    ("css",  "text/css; charset=utf-8",       PAGE),
    ("js",   "text/javascript; charset=utf-8", PAGE),
    ("json", "application/json",              PAGE),
    ("xml",  "application/xml",               PAGE),
    ("txt",  "text/plain; charset=utf-8",     PAGE),
];

/// What players are told about a file of this name.
#[must_use]
pub fn of(name: &str) -> MediaType {
    let extension = name
        .rsplit('/')
        .next()
        .and_then(|name| name.rsplit_once('.'))
        .map_or("", |(_, end)| end);
    let known = TABLE
        .iter()
        .find(|(end, ..)| end.eq_ignore_ascii_case(extension));
    let (_, content_type, cache_control) =
        known
            .copied()
            .unwrap_or(("", "application/octet-stream", PAGE));
    MediaType {
        content_type: if is_audio(name, content_type) {
            "audio/iso.segment"
        } else {
            content_type
        },
        cache_control,
    }
}

/// A bare segment may hold sound only; packagers say so in the name.
fn is_audio(name: &str, content_type: &str) -> bool {
    let name = name.rsplit('/').next().unwrap_or(name).to_ascii_lowercase();
    content_type == "video/iso.segment" && (name.contains("audio") || name.contains("_a_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_to_types() {
        for (name, content_type, cache_control) in [
            ("/title/manifest.mpd", "application/dash+xml", PLAYLIST),
            (
                "/title/master.M3U8",
                "application/vnd.apple.mpegurl",
                PLAYLIST,
            ),
            ("/title/1080p/seg-1.m4s", "video/iso.segment", SEGMENT),
            ("/title/audio-1.m4s", "audio/iso.segment", SEGMENT),
            ("/audio/seg-1.m4s", "video/iso.segment", SEGMENT),
            ("/title/en.vtt", "text/vtt", SEGMENT),
            ("/title/a.tar.gz", "application/octet-stream", PAGE),
            ("/title/README", "application/octet-stream", PAGE),
            ("/v1.mp4/file", "application/octet-stream", PAGE),
            ("", "application/octet-stream", PAGE),
        ] {
            assert_eq!(
                of(name),
                MediaType {
                    content_type,
                    cache_control
                },
                "{name}"
            );
        }
    }

    #[test]
    fn every_extension_stands_once_and_in_small_letters() {
        for (index, (extension, ..)) in TABLE.iter().enumerate() {
            assert_eq!(*extension, extension.to_ascii_lowercase());
            assert!(
                TABLE[..index].iter().all(|(other, ..)| other != extension),
                "{extension}"
            );
        }
    }
}
