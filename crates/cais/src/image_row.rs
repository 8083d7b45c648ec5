//! Images as rows of `images`, one per name, and the filters of `images`.

use cais_engine::view::ImageView;
use cais_oci::Reference;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::filter::glob;
use crate::list::{Columns, Row, labels_text};
use crate::{size, time};

/// Placeholders and titles of docker's `images`.
pub const COLUMNS: Columns = Columns {
    titles: &[
        ("ID", "IMAGE ID"),
        ("Repository", "REPOSITORY"),
        ("Tag", "TAG"),
        ("Digest", "DIGEST"),
        ("CreatedSince", "CREATED"),
        ("CreatedAt", "CREATED AT"),
        ("Size", "SIZE"),
        ("Labels", "LABELS"),
        ("Platform", "PLATFORM"),
        ("Containers", "CONTAINERS"),
        ("VirtualSize", "SIZE"),
        ("SharedSize", "SHARED SIZE"),
        ("UniqueSize", "UNIQUE SIZE"),
    ],
    table: "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}",
    quiet: "{{.ID}}",
};

/// The table of `images --digests`.
pub const TABLE_WITH_DIGESTS: &str =
    "table {{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}";

const NONE: &str = "<none>";

/// The rows of one image: one per name, or per digest when it has no tag, or one for an image without name.
///
/// `pattern` keeps the names that match it, as does `--filter reference=`.
pub fn rows(
    view: &ImageView,
    patterns: &[String],
    truncate: bool,
    now: Timestamp,
    zone: &TimeZone,
) -> Vec<Row> {
    let parsed =
        |names: &[String]| names.iter().filter_map(|name| Reference::parse(name).ok()).collect::<Vec<_>>();
    let (names, digests) = (parsed(&view.names), parsed(&view.digests));
    let wanted = |reference: &&Reference| {
        patterns.is_empty() || patterns.iter().any(|pattern| reference_matches(pattern, reference))
    };
    let digest_of = |name: &Reference| {
        let found =
            digests.iter().find(|digest| digest.name() == name.name()).and_then(|d| d.digest.as_ref());
        found.map_or(NONE.to_owned(), ToString::to_string)
    };
    let tagged = names.iter().filter(wanted);
    let mut places: Vec<(String, String, String)> = tagged
        .map(|name| (name.familiar_name(), name.tag.clone().unwrap_or(NONE.into()), digest_of(name)))
        .collect();
    let untagged =
        digests.iter().filter(wanted).filter(|digest| !names.iter().any(|name| name.name() == digest.name()));
    places.extend(untagged.map(|digest| (digest.familiar_name(), NONE.into(), digest_of(digest))));
    if names.is_empty() && digests.is_empty() && patterns.is_empty() {
        places.push((NONE.into(), NONE.into(), NONE.into()));
    }
    let id = if truncate { view.id.short().to_owned() } else { view.id.to_string() };
    let created = view.created.as_deref().unwrap_or_default();
    places
        .into_iter()
        .map(|(repository, tag, digest)| {
            let mut row = Row { labels: view.labels.clone(), ..Row::default() };
            row.set("ID", id.as_str());
            row.set("Repository", repository);
            row.set("Tag", tag);
            row.set("Digest", digest);
            row.set("CreatedSince", time::ago(created, now));
            row.set("CreatedAt", time::long(created, zone));
            row.set("Size", size::human(view.size_bytes));
            row.set("VirtualSize", size::human(view.size_bytes));
            row.set("Labels", labels_text(&view.labels));
            row.set("Platform", view.platform.to_string());
            for unknown in ["Containers", "SharedSize", "UniqueSize"] {
                row.set(unknown, "N/A");
            }
            row
        })
        .collect()
}

/// Whether a name matches `repository[:tag]` with shell patterns, in its short or its whole form.
pub fn reference_matches(pattern: &str, reference: &Reference) -> bool {
    let tag = reference.tag.as_deref().unwrap_or_default();
    let names = [reference.familiar_name(), reference.name()];
    names
        .iter()
        .any(|name| glob(pattern, name) || (!tag.is_empty() && glob(pattern, &format!("{name}:{tag}"))))
        || reference
            .digest
            .as_ref()
            .is_some_and(|digest| names.iter().any(|name| glob(pattern, &format!("{name}@{digest}"))))
}

#[cfg(test)]
mod tests {
    use cais_oci::{Digest, Platform};

    use super::*;

    fn view(names: &[&str], digests: &[&str]) -> ImageView {
        ImageView {
            id: Digest::sha256(b"config"),
            names: names.iter().map(|&name| name.to_owned()).collect(),
            digests: digests.iter().map(|&name| name.to_owned()).collect(),
            created: Some("2026-01-01T00:00:00Z".into()),
            size_bytes: 4_260_000,
            platform: Platform::new("linux", "amd64", None),
            labels: [("a".to_owned(), "1".to_owned())].into(),
        }
    }

    fn show(view: &ImageView, patterns: &[&str]) -> Vec<String> {
        let now = "2026-01-02T00:00:00Z".parse().expect("a time");
        let patterns: Vec<String> = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
        rows(view, &patterns, true, now, &TimeZone::UTC)
            .iter()
            .map(|row| ["Repository", "Tag", "Digest"].map(|field| row.fields[field].clone()).join(" "))
            .collect()
    }

    #[test]
    fn one_row_per_name() {
        let digest = Digest::sha256(b"manifest");
        let at = format!("docker.io/library/busybox@{digest}");
        let image = view(&["docker.io/library/busybox:latest", "quay.io/a/b:1"], &[&at]);
        assert_eq!(show(&image, &[]), [format!("busybox latest {digest}"), "quay.io/a/b 1 <none>".into()]);
        assert_eq!(show(&image, &["quay.io/*/b"]), ["quay.io/a/b 1 <none>"]);
        assert_eq!(show(&image, &["busybox:l*"]).len(), 1);
        assert_eq!(show(&image, &["other"]).len(), 0);
        assert_eq!(show(&view(&[], &[&at]), &[]), [format!("busybox <none> {digest}")]);
        assert_eq!(show(&view(&[], &[]), &[]), ["<none> <none> <none>"]);
        assert_eq!(show(&view(&[], &[]), &["busybox"]).len(), 0);
    }

    #[test]
    fn every_column_is_filled() {
        let now = "2026-01-02T00:00:00Z".parse().expect("a time");
        let row = rows(&view(&["docker.io/library/a:1"], &[]), &[], true, now, &TimeZone::UTC).remove(0);
        for (field, _) in COLUMNS.titles {
            assert!(row.fields.contains_key(field), "{field}");
        }
        assert_eq!(
            (row.fields["Size"].as_str(), row.fields["CreatedSince"].as_str()),
            ("4.26MB", "24 hours ago")
        );
        assert_eq!(row.fields["ID"].len(), 12);
    }
}
