//! `cais run`: standard streams, apart, complete and binary-safe.

use cais_test::e2e;

/// Bytes that repeat late and hold every value.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

#[test]
fn standard_output_and_error_are_apart() {
    e2e(|cais| {
        let finished = cais.cmd("run --rm busybox sh -c 'echo out; echo err >&2'").output().code(0);
        assert_eq!((finished.stdout.as_slice(), finished.stderr.as_slice()), (&b"out\n"[..], &b"err\n"[..]));
    });
}

#[test]
fn sixty_four_mebibytes_go_through_unchanged() {
    e2e(|cais| {
        let bytes = noise(64 << 20);
        let finished =
            cais.cmd("run --rm -i busybox cat").stdin(bytes.clone()).timeout_secs(120).output().code(0);
        assert!(finished.stdout == bytes, "{} bytes came back", finished.stdout.len());
    });
}

#[test]
fn a_gibibyte_is_complete() {
    e2e(|cais| {
        let run = cais
            .cmd("run --rm --log-driver none busybox sh -c 'head -c 1073741824 /dev/zero'")
            .timeout_secs(280);
        run.piped_into("wc -c").output().code(0).prints("1073741824");
    });
}

#[test]
fn output_at_the_very_end_is_not_lost() {
    e2e(|cais| {
        for round in 0..20 {
            let finished = cais.cmd("run --rm busybox sh -c 'head -c 300000 /dev/zero'").output().code(0);
            assert_eq!(finished.stdout.len(), 300_000, "round {round}");
        }
    });
}

#[test]
fn without_i_standard_input_is_empty() {
    e2e(|cais| {
        cais.cmd("run --rm busybox cat").stdin("not for you").output().code(0).prints("");
        cais.cmd("run --rm -i busybox cat").stdin("for you").output().code(0).prints("for you");
    });
}

#[test]
fn the_end_of_standard_input_arrives() {
    e2e(|cais| {
        cais.cmd("run --rm -i busybox wc -c").stdin("12345").output().code(0).prints("5");
        cais.cmd("run --rm -i busybox sh -c 'cat >/dev/null; echo after'")
            .stdin("")
            .output()
            .code(0)
            .prints("after");
    });
}

#[test]
fn a_reader_that_goes_away_ends_the_writer() {
    e2e(|cais| {
        let run = cais.cmd("run --rm busybox sh -c 'yes | head -c 100000000'").timeout_secs(60);
        let finished = run.piped_into("head -n 1").output();
        assert_eq!(finished.stdout_text(), "y");
    });
}

#[test]
fn attached_streams_can_be_chosen() {
    e2e(|cais| {
        let finished = cais.cmd("run --rm -a stderr busybox sh -c 'echo out; echo err >&2'").output().code(0);
        assert_eq!((finished.stdout_text().as_str(), finished.stderr_text().as_str()), ("", "err"));
    });
}
