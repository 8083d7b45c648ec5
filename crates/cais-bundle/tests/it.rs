//! Real containers: processes, namespaces, groups below `/cais-test-…`. Needs root and a static busybox.

mod it {
    mod again;
    mod bundle;
    mod crash;
    mod descriptors;
    mod exec;
    mod foreground;
    mod groups;
    mod guest;
    mod hooks;
    mod lifecycle;
    mod namespaces;
    mod parallel;
    mod refusals;
    mod seccomp;
}
