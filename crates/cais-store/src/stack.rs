//! Which of an image's layers a container's root is mounted from; see also [`crate::implied`].

use cais_oci::Digest;

use crate::layers::LayerMeta;

/// The layers to mount: nothing below one that hides it, and no layer twice, which overlayfs refuses.
///
/// Of equal layers the topmost does all that the lower ones do.
pub(crate) fn stack(layers: &[LayerMeta]) -> Vec<Digest> {
    let mut stack: Vec<Digest> = Vec::new();
    for layer in layers.iter().rev() {
        if !stack.contains(&layer.diff_id) {
            stack.push(layer.diff_id.clone());
        }
        if layer.hides_lower_layers {
            break;
        }
    }
    stack.reverse();
    stack
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stack_leaves_out_what_is_hidden_or_repeated() {
        let layer = |name: &str, hides_lower_layers| LayerMeta {
            diff_id: Digest::sha256(name.as_bytes()),
            blob: Digest::sha256(b""),
            blob_bytes: 0,
            tar_bytes: 0,
            content_bytes: 0,
            entries: 0,
            hides_lower_layers,
        };
        let ids =
            |names: &[&str]| names.iter().map(|name| Digest::sha256(name.as_bytes())).collect::<Vec<_>>();
        assert_eq!(stack(&[]), ids(&[]));
        assert_eq!(stack(&[layer("a", false), layer("b", false), layer("a", false)]), ids(&["b", "a"]));
        assert_eq!(stack(&[layer("a", false), layer("b", true), layer("c", false)]), ids(&["b", "c"]));
        assert_eq!(stack(&[layer("a", true), layer("b", false), layer("a", true)]), ids(&["a"]));
    }
}
