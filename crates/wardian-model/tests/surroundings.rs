//! What a user sees when an environment can't live on a host: its lab network, its memory, its images.

use wardian_model::{
    file::{Surroundings, check_on, read},
    name::ImageName,
    size::ByteSize,
};

const FILE: &str = "\
name: store
machines:
  web: { image: micro, memory: 192 MiB }
  db: { image: debain, memory: 1 GiB }
network:
  subnet: 192.168.23.0/24
";

fn shown(surroundings: &Surroundings) -> String {
    let file = read(FILE, "env.yaml").unwrap();
    let found = file.locate(check_on(&file.spec, surroundings));
    found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n\n")
}

fn roomy() -> Surroundings {
    Surroundings { lab: "198.18.0.0/16".parse().unwrap(), memory_total: None, images: None }
}

fn images(names: &[&str]) -> Option<Vec<ImageName>> {
    Some(names.iter().map(|name| ImageName::new(*name).unwrap()).collect())
}

#[test]
fn what_is_unknown_is_not_checked() {
    assert_eq!(shown(&roomy()), "");
}

#[test]
fn a_subnet_that_overlaps_the_lab_network_is_an_error_with_one_that_does_not() {
    insta::assert_snapshot!(shown(&Surroundings { lab: "192.168.0.0/16".parse().unwrap(), ..roomy() }), @r#"
    error: the subnet 192.168.23.0/24 overlaps the lab network 192.168.0.0/16, so answers would not find their way
     --> env.yaml:6:11
      |
    6 |   subnet: 192.168.23.0/24
      |           ^^^^^^^^^^^^^^^
      = hint: choose another under `network`, as in `subnet: 10.23.0.0/24`
    "#);
}

#[test]
fn a_machine_larger_than_the_host_is_an_error() {
    insta::assert_snapshot!(shown(&Surroundings { memory_total: Some(ByteSize::mib(700)), ..roomy() }), @r#"
    error: db wants 1 GiB of memory; the host has 700 MiB
     --> env.yaml:4:32
      |
    4 |   db: { image: debain, memory: 1 GiB }
      |                                ^^^^^
      = hint: give it less
    "#);
}

#[test]
fn machines_larger_than_the_host_together_are_an_error_with_the_sum() {
    insta::assert_snapshot!(shown(&Surroundings { memory_total: Some(ByteSize::bytes(1_200_000_000)), ..roomy() }), @r#"
    error: the machines want more memory than the host has: web 192 MiB + db 1 GiB = 1216 MiB, of 1144 MiB
     --> env.yaml:2:1
      |
    2 | machines:
      | ^^^^^^^^
      = hint: give the machines less with `memory`
    "#);
    assert_eq!(shown(&Surroundings { memory_total: Some(ByteSize::mib(1216)), ..roomy() }), "");
}

#[test]
fn a_missing_image_suggests_the_nearest() {
    insta::assert_snapshot!(shown(&Surroundings { images: images(&["micro", "debian"]), ..roomy() }), @r#"
    error: there is no image debain, which db starts from
     --> env.yaml:4:16
      |
    4 |   db: { image: debain, memory: 1 GiB }
      |                ^^^^^^
      = hint: did you mean `debian`? `wardian image ls` lists them
    "#);
}

#[test]
fn a_missing_image_like_no_other_says_how_to_get_it() {
    insta::assert_snapshot!(shown(&Surroundings { images: images(&["micro"]), ..roomy() }), @r#"
    error: there is no image debain, which db starts from
     --> env.yaml:4:16
      |
    4 |   db: { image: debain, memory: 1 GiB }
      |                ^^^^^^
      = hint: `wardian image ls` lists them; `wardian image import debain FILE` adds one
    "#);
    assert!(shown(&Surroundings { images: images(&[]), ..roomy() }).contains("there are no images yet"));
}
