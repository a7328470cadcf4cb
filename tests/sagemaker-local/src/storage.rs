//! Files in S3: fetched for jobs and models, written for artifacts; archives packed and unpacked.

use std::fs::File;
use std::path::{Component, Path, PathBuf};

use anyhow::Context as _;
use aws_sdk_s3::Client;
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

/// More objects than this under one prefix are not a test's data set.
const MOST_OBJECTS: usize = 20_000;

/// Bucket and key of an `s3://` URI.
pub(crate) fn parse(uri: &str) -> anyhow::Result<(&str, &str)> {
    let rest = uri
        .strip_prefix("s3://")
        .with_context(|| format!("{uri} is no s3:// URI"))?;
    let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
    anyhow::ensure!(!bucket.is_empty(), "{uri} names no bucket");
    Ok((bucket, key))
}

/// The content of one object.
pub(crate) async fn read(s3: &Client, uri: &str) -> anyhow::Result<Vec<u8>> {
    let (bucket, key) = parse(uri)?;
    let object = s3
        .get_object()
        .bucket(bucket)
        .key(key)
        .send()
        .await
        .map_err(|error| anyhow::anyhow!("can't read {uri}: {}", explain(&error)))?;
    let body = object
        .body
        .collect()
        .await
        .with_context(|| format!("can't read {uri}"))?;
    Ok(body.to_vec())
}

/// Writes one object.
pub(crate) async fn write(s3: &Client, uri: &str, body: ByteStream) -> anyhow::Result<()> {
    let (bucket, key) = parse(uri)?;
    s3.put_object()
        .bucket(bucket)
        .key(key)
        .body(body)
        .send()
        .await
        .map_err(|error| anyhow::anyhow!("can't write {uri}: {}", explain(&error)))?;
    Ok(())
}

/// What S3 said, for people; the whole chain of causes if S3 said nothing.
fn explain<E>(error: &SdkError<E>) -> String
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match (error.code(), error.message()) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        _ => DisplayErrorContext(error).to_string(),
    }
}

/// The keys of all objects under a prefix, in order.
pub(crate) async fn list(s3: &Client, uri: &str) -> anyhow::Result<Vec<String>> {
    let (bucket, prefix) = parse(uri)?;
    let mut pages = s3
        .list_objects_v2()
        .bucket(bucket)
        .prefix(prefix)
        .into_paginator()
        .send();
    let mut keys = Vec::new();
    while let Some(page) = pages.next().await {
        let page =
            page.map_err(|error| anyhow::anyhow!("can't list {uri}: {}", explain(&error)))?;
        keys.extend(
            page.contents()
                .iter()
                .filter_map(|object| object.key().map(str::to_owned)),
        );
        anyhow::ensure!(
            keys.len() <= MOST_OBJECTS,
            "{uri} has more than {MOST_OBJECTS} objects"
        );
    }
    keys.retain(|key| !key.ends_with('/'));
    Ok(keys)
}

/// Downloads all objects under a prefix into a folder, as a training channel has them.
pub(crate) async fn download(s3: &Client, uri: &str, folder: &Path) -> anyhow::Result<usize> {
    let (bucket, prefix) = parse(uri)?;
    let mut count = 0;
    for key in list(s3, uri).await? {
        let target = folder.join(local_name(prefix, &key)?);
        if let Some(parent) = target.parent() {
            tokio::fs::create_dir_all(parent).await?;
        }
        let content = read(s3, &format!("s3://{bucket}/{key}")).await?;
        tokio::fs::write(&target, content).await?;
        count += 1;
    }
    Ok(count)
}

/// Where an object goes below its channel's folder. Keys can't climb out of it.
fn local_name(prefix: &str, key: &str) -> anyhow::Result<PathBuf> {
    let rest = match key.strip_prefix(prefix) {
        Some(rest) if prefix.is_empty() || prefix.ends_with('/') => rest,
        Some(rest) if rest.starts_with('/') => &rest[1..],
        // The prefix is the object itself, or ends within a name.
        _ => &key[prefix.rfind('/').map_or(0, |slash| slash + 1)..],
    };
    let path = PathBuf::from(rest);
    let safe = path
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    anyhow::ensure!(
        safe && !rest.is_empty(),
        "the key {key} can't be a file name"
    );
    Ok(path)
}

/// Unpacks a tar.gz into a folder; entries can't climb out of it.
pub(crate) async fn unpack(archive: Vec<u8>, folder: &Path) -> anyhow::Result<()> {
    let folder = folder.to_owned();
    tokio::task::spawn_blocking(move || {
        std::fs::create_dir_all(&folder)?;
        let mut archive = tar::Archive::new(GzDecoder::new(archive.as_slice()));
        archive.set_preserve_mtime(false);
        archive.unpack(&folder)
    })
    .await?
    .context("it is no tar.gz archive")
}

/// Packs a folder's content into a tar.gz file.
pub(crate) async fn pack(folder: &Path, target: &Path) -> anyhow::Result<()> {
    let (folder, target) = (folder.to_owned(), target.to_owned());
    tokio::task::spawn_blocking(move || {
        let mut archive =
            tar::Builder::new(GzEncoder::new(File::create(&target)?, Compression::fast()));
        archive.follow_symlinks(false);
        archive.append_dir_all(".", &folder)?;
        archive.into_inner()?.finish()?.sync_all()
    })
    .await?
    .with_context(|| "packing failed")
}

/// Whether a folder has any file in it, at any depth.
pub(crate) fn has_files(folder: &Path) -> bool {
    std::fs::read_dir(folder).is_ok_and(|entries| {
        entries.flatten().any(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => has_files(&entry.path()),
            Ok(_) => true,
            Err(_) => false,
        })
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_keeps_the_layout_below_its_prefix() {
        let name = |prefix, key| {
            local_name(prefix, key)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned()
        };
        assert_eq!(name("data/train", "data/train/a/x.csv"), "a/x.csv");
        assert_eq!(name("data/train/", "data/train/x.csv"), "x.csv");
        assert_eq!(name("data/train", "data/train.csv"), "train.csv");
        assert_eq!(name("data/train.csv", "data/train.csv"), "train.csv");
        assert_eq!(name("", "x.csv"), "x.csv");
    }

    #[test]
    fn a_key_can_not_climb_out() {
        assert!(local_name("data/", "data/../../etc/passwd").is_err());
        assert!(local_name("data/", "data//etc/passwd").is_err());
    }

    #[tokio::test]
    async fn a_folder_comes_back_from_its_archive() {
        let here = tempfile::tempdir().unwrap();
        let from = here.path().join("model");
        std::fs::create_dir_all(from.join("code")).unwrap();
        std::fs::write(from.join("code/inference.py"), "x = 1").unwrap();
        let archive = here.path().join("model.tar.gz");
        pack(&from, &archive).await.unwrap();
        let to = here.path().join("copy");
        unpack(std::fs::read(&archive).unwrap(), &to).await.unwrap();
        assert_eq!(
            std::fs::read_to_string(to.join("code/inference.py")).unwrap(),
            "x = 1"
        );
        assert!(unpack(b"not an archive".to_vec(), &to).await.is_err());
    }
}
