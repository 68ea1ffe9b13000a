//! Signature Version 4, computed again from a request as it came. Source: AWS IAM user guide,
//! "Create a signed AWS API request".

use sha2::{Digest, Sha256};

use crate::request::Request;

/// The secret key of the tests.
pub(crate) const SECRET: &str = "test-secret-key";

const BLOCK: usize = 64;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut padded = [0_u8; BLOCK];
    padded
        .iter_mut()
        .zip(key)
        .for_each(|(byte, own)| *byte = *own);
    let inner = padded.map(|byte| byte ^ 0x36);
    let outer = padded.map(|byte| byte ^ 0x5c);
    let inner = Sha256::new()
        .chain_update(inner)
        .chain_update(text)
        .finalize();
    Sha256::new()
        .chain_update(outer)
        .chain_update(inner)
        .finalize()
        .to_vec()
}

/// Whether the signature of a request is right.
pub(crate) fn is_right(request: &Request) -> bool {
    let authorization = request.header("authorization");
    let part = |name: &str| {
        let (_, rest) = authorization.split_once(name).expect("a part");
        rest.split(',').next().expect("a value").to_owned()
    };
    let (scope, signed) = (part("Credential="), part("SignedHeaders="));
    let scope = scope.split_once('/').expect("a scope").1.to_owned();
    let headers: String = signed
        .split(';')
        .map(|name| format!("{name}:{}\n", request.header(name)))
        .collect();
    for name in ["host", "x-amz-date"] {
        assert!(signed.split(';').any(|signed| signed == name), "{name}");
    }
    let (path, query) = request
        .target
        .split_once('?')
        .unwrap_or((&request.target, ""));
    let body = hex(&Sha256::digest(&request.body));
    let canonical = [&request.method, path, query, &headers, &signed, &body].join("\n");
    let time = request.header("x-amz-date");
    let hash = hex(&Sha256::digest(canonical));
    let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{hash}");
    let mut key = format!("AWS4{SECRET}").into_bytes();
    for part in scope.split('/') {
        key = hmac(&key, part);
    }
    hex(&hmac(&key, &to_sign)) == part("Signature=")
}
