//! The dashboard's static files, compiled in. Their addresses contain a hash of their contents, so a browser caches
//! each file forever and never uses an outdated one.

use api::error::Error;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use ring::digest::{SHA256, digest};
use std::io::Write;
use std::sync::LazyLock;

/// Number of bytes of a hash in an address.
const HASH_BYTES: usize = 8;
/// Caching for a year: changed contents have another address.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";

/// A file as it is served.
struct Asset {
    name: &'static str,
    media: &'static str,
    bytes: &'static [u8],
    gzip: Vec<u8>,
    path: String,
}

impl Asset {
    fn new(name: &'static str, media: &'static str, bytes: &'static [u8]) -> Self {
        let hash = storage::hex(
            digest(&SHA256, bytes)
                .as_ref()
                .get(..HASH_BYTES)
                .unwrap_or_default(),
        );
        Self {
            name,
            media,
            bytes,
            gzip: gzip(bytes, Compression::best()),
            path: format!("/ui/assets/{hash}/{name}"),
        }
    }
}

static ASSETS: LazyLock<[Asset; 5]> = LazyLock::new(|| {
    const SCRIPT: &str = "text/javascript; charset=utf-8";
    [
        Asset::new(
            "settle.css",
            "text/css; charset=utf-8",
            include_bytes!("../../assets/settle.css"),
        ),
        Asset::new(
            "settle.js",
            SCRIPT,
            include_bytes!("../../assets/settle.js"),
        ),
        Asset::new(
            "htmx.min.js",
            SCRIPT,
            include_bytes!("../../assets/htmx.min.js"),
        ),
        Asset::new(
            "hx-sse.min.js",
            SCRIPT,
            include_bytes!("../../assets/hx-sse.min.js"),
        ),
        Asset::new(
            "icons.svg",
            "image/svg+xml",
            include_bytes!("../../assets/icons.svg"),
        ),
    ]
});

pub fn path(name: &str) -> &'static str {
    ASSETS
        .iter()
        .find(|asset| asset.name == name)
        .map_or("/ui/assets/", |asset| asset.path.as_str())
}

/// `GET /ui/assets/{hash}/{name}`
pub async fn show(
    Path((hash, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let path = format!("/ui/assets/{hash}/{name}");
    let found = ASSETS.iter().find(|asset| asset.path == path);
    let asset = found.ok_or_else(|| Error::Missing("there is no such file".to_owned()))?;
    let cached = (header::CACHE_CONTROL, HeaderValue::from_static(IMMUTABLE));
    let media = (header::CONTENT_TYPE, HeaderValue::from_static(asset.media));
    if takes_gzip(&headers) {
        let encoding = (header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        return Ok(([cached, media, encoding], asset.gzip.as_slice()).into_response());
    }
    Ok(([cached, media], asset.bytes).into_response())
}

/// Returns whether a client accepts a response that is compressed with gzip.
pub fn takes_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers
        .get_all(header::ACCEPT_ENCODING)
        .into_iter()
        .filter_map(|value| value.to_str().ok());
    accepted.flat_map(|list| list.split(',')).any(|one| {
        let mut parts = one.split(';').map(str::trim);
        parts.next() == Some("gzip") && parts.all(|part| part != "q=0")
    })
}

/// Compresses bytes with gzip.
pub fn gzip(bytes: &[u8], level: Compression) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), level);
    // Writing to memory cannot fail.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{ASSETS, gzip, takes_gzip};
    use axum::http::{HeaderMap, HeaderValue, header};
    use flate2::Compression;
    use ring::digest::{SHA256, digest};

    /// Third-party files, with their checksums in the npm package htmx.org 4.0.1.
    const PINNED: [(&str, &str); 2] = [
        (
            "htmx.min.js",
            "a0abb04f2f45a1f89d1d4844023245537e5e6014c87b144553e0607b4cc32130",
        ),
        (
            "hx-sse.min.js",
            "18ef2761356ec1fe0bb6d92612315b37517a7c1e9856b661c5ae81fef239d103",
        ),
    ];
    /// Maximum total size of all files in bytes, compressed. Together with a page of 8 KiB they stay below 40 kB.
    const MAX_BYTES: usize = 32_000;

    #[test]
    fn the_files_of_others_are_as_they_were_published() {
        for (name, hash) in PINNED {
            let asset = ASSETS.iter().find(|asset| asset.name == name).expect(name);
            assert_eq!(
                storage::hex(digest(&SHA256, asset.bytes).as_ref()),
                hash,
                "{name}"
            );
        }
    }

    #[test]
    fn all_files_together_are_small() {
        let sizes: Vec<_> = ASSETS
            .iter()
            .map(|asset| (asset.name, asset.gzip.len()))
            .collect();
        let whole: usize = sizes.iter().map(|(_, size)| size).sum();
        assert!(whole <= MAX_BYTES, "{whole} bytes: {sizes:?}");
    }

    #[test]
    fn an_answer_is_compressed_for_those_who_take_it() {
        let takes = |text: &'static str| {
            let headers =
                HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(text))]);
            takes_gzip(&headers)
        };
        assert!(takes("gzip") && takes("br, gzip;q=0.5"));
        assert!(!takes("br") && !takes("gzip;q=0") && !takes_gzip(&HeaderMap::new()));
        assert_eq!(gzip(b"abc", Compression::best())[..2], [0x1f, 0x8b]);
    }
}
