//! The repository of disks: content-addressed images and the overlays on them
