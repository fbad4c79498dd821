//! The headers of every page: it loads only its own files, is not stored, and cannot be framed.

use super::assets::{gzip, takes_gzip};
use axum::body::{Body, HttpBody, to_bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::Response;
use flate2::Compression;

/// The content security policy: a page may load only files of its own origin, and images in `data:` URLs. No text in a
/// page is ever run as a script or applied as a style.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; object-src 'none'";
/// Size in bytes below which a response is not compressed.
const SMALL: u64 = 600;
/// Size in bytes at or above which a response is not compressed.
const MAX_BYTES: u64 = 8 * 1024 * 1024;

/// The headers of each response, unless the response sets them itself.
const HEADERS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    // With `no-referrer` a form would be sent with `Origin: null` (<https://fetch.spec.whatwg.org/#origin-header>).
    (header::REFERRER_POLICY, "same-origin"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (header::X_FRAME_OPTIONS, "DENY"),
];

/// Adds the headers, and compresses the response if the client accepts that.
pub async fn dress(mut response: Response, request: &HeaderMap, is_secure: bool) -> Response {
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    headers.append(header::VARY, HeaderValue::from_static("accept-encoding"));
    if is_secure {
        headers.insert(
            header::STRICT_TRANSPORT_SECURITY,
            HeaderValue::from_static("max-age=31536000"),
        );
    }
    if takes_gzip(request) {
        compressed(response).await
    } else {
        response
    }
}

/// Compresses a page. A stream, a static file, and a small or very large response stay unchanged.
async fn compressed(response: Response) -> Response {
    let (mut head, body) = response.into_parts();
    let size = body.size_hint().exact();
    if head.headers.contains_key(header::CONTENT_ENCODING)
        || size.is_none_or(|size| !(SMALL..MAX_BYTES).contains(&size))
    {
        return Response::from_parts(head, body);
    }
    let Ok(bytes) = to_bytes(body, usize::MAX).await else {
        return Response::from_parts(head, Body::empty());
    };
    head.headers
        .insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    head.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(head, Body::from(gzip(&bytes, Compression::fast())))
}
