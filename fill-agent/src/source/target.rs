//! From a listed source and a path to a request.

use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderValue, Method};
use object_store::aws::AmazonS3;
use object_store::path::Path;
use object_store::signer::Signer;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rustls::pki_types::ServerName;
use url::Url;

use super::Wanted;
use super::error::SourceError;
use super::transport::Request;
use crate::tls::Side;

/// What is not encoded in a path: RFC 3986's unreserved characters and the slash.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/');

/// How long a signed request is good for: it is sent at once, so this is the error of the clock that is borne.
const SIGNED_FOR: Duration = Duration::from_secs(15 * 60);

/// One address of a source.
pub(super) enum Target {
    /// `GET <base><path>` of an appliance. Its redirect means that it has not got the object.
    Appliance {
        base: Url,
        /// Its id, which its certificate must be for: reports tell addresses, and those may change.
        name: ServerName<'static>,
    },
    /// `GET <base><path>` of an origin.
    Origin { base: Url },
    /// `GET <base>/v1/bytes/<root>` with a token.
    Control { base: Url, token: HeaderValue },
    /// `GET <endpoint>/<bucket>/<prefix><path>`, signed in the query: so it goes through the same transport as all others.
    S3 {
        bucket: Box<AmazonS3>,
        prefix: String,
    },
}

impl Target {
    pub(super) async fn request(
        &self,
        method: Method,
        wanted: &Wanted,
    ) -> Result<Request, SourceError> {
        match self {
            Self::Appliance { base, name } => {
                let url = below(base, &wanted.path)?;
                Ok(Request {
                    follow: false,
                    name: Some(name.clone()),
                    ..Request::new(method, url, Side::Appliance)
                })
            }
            Self::Origin { base } => {
                let url = below(base, &wanted.path)?;
                Ok(Request::new(method, url, Side::Origin))
            }
            Self::Control { base, token } => {
                control(method, base, token, &format!("/v1/bytes/{}", wanted.root))
            }
            Self::S3 { bucket, prefix } => {
                let key = format!("{prefix}{}", wanted.path.trim_start_matches('/'));
                let key = Path::parse(key)
                    .map_err(|error| SourceError::Setup(format!("no key of S3: {error}")))?;
                let url = bucket.signed_url(method.clone(), &key, SIGNED_FOR).await;
                let url =
                    url.map_err(|error| SourceError::Setup(format!("not signed: {error}")))?;
                Ok(Request::new(method, url, Side::Origin))
            }
        }
    }

    /// The request for the chunk tree, where this is the control endpoint.
    pub(super) fn tree_request(&self, wanted: &Wanted) -> Result<Request, SourceError> {
        match self {
            Self::Control { base, token } => {
                let path = format!("/v1/trees/{}", wanted.root);
                control(Method::GET, base, token, &path)
            }
            _ => Err(SourceError::Setup(
                "only the control endpoint has chunk trees".into(),
            )),
        }
    }
}

fn control(
    method: Method,
    base: &Url,
    token: &HeaderValue,
    path: &str,
) -> Result<Request, SourceError> {
    let mut request = Request::new(method, below(base, path)?, Side::Control);
    request.headers.insert(AUTHORIZATION, token.clone());
    Ok(request)
}

/// A path below a base URL. Refused if it would name another place than it says, as `..` does.
fn below(base: &Url, path: &str) -> Result<Url, SourceError> {
    let encoded = utf8_percent_encode(path, PATH).to_string();
    let mut url = base.clone();
    let whole = format!("{}{encoded}", base.path().trim_end_matches('/'));
    url.set_path(&whole);
    url.set_query(None);
    if url.path() == whole {
        Ok(url)
    } else {
        Err(SourceError::Setup(format!(
            "the path {path:?} is another one in a URL"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_encoded_and_stays_what_it_is() {
        let base = Url::parse("http://192.0.2.1:80/media/?x=1").unwrap();
        for (path, expected) in [
            ("/a/b.mp4", Some("http://192.0.2.1/media/a/b.mp4")),
            (
                "/a b%/ü?#",
                Some("http://192.0.2.1/media/a%20b%25/%C3%BC%3F%23"),
            ),
            ("/a/%2e%2e/b", Some("http://192.0.2.1/media/a/%252e%252e/b")),
            ("/a//b", Some("http://192.0.2.1/media/a//b")),
            ("/a/../b", None),
            ("/a/./b", None),
        ] {
            let url = below(&base, path).ok().map(String::from);
            assert_eq!(url.as_deref(), expected, "{path}");
        }
    }
}
