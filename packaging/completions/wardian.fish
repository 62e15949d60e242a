# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_wardian_global_optspecs
    string join \n json host= q/quiet v/verbose h/help V/version
end

function __fish_wardian_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_wardian_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_wardian_using_subcommand
    set -l cmd (__fish_wardian_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c wardian -n "__fish_wardian_needs_command" -l host -d 'The host to talk to: unix:///PATH of its socket' -r -f
complete -c wardian -n "__fish_wardian_needs_command" -l json -d 'Print JSON instead of text'
complete -c wardian -n "__fish_wardian_needs_command" -s q -l quiet -d 'Print no progress and no messages; errors and data are still printed'
complete -c wardian -n "__fish_wardian_needs_command" -s v -l verbose -d 'Print what is going on in more detail; twice for still more'
complete -c wardian -n "__fish_wardian_needs_command" -s h -l help -d 'Print help'
complete -c wardian -n "__fish_wardian_needs_command" -s V -l version -d 'Print version'
complete -c wardian -n "__fish_wardian_needs_command" -f -a "up" -d 'Bring up the environment a file describes, and wait until all its machines are ready'
complete -c wardian -n "__fish_wardian_needs_command" -f -a "ls" -d 'List the environments'
complete -c wardian -n "__fish_wardian_needs_command" -f -a "status" -d 'Say what is wrong and what to do about it; of one environment, how each machine stands'
complete -c wardian -n "__fish_wardian_needs_command" -f -a "events" -d 'Print what happened, oldest first'
complete -c wardian -n "__fish_wardian_needs_command" -f -a "down" -d 'Stop the machines of environments; disks and identities are kept'
complete -c wardian -n "__fish_wardian_needs_command" -f -a "suspend" -d 'Stop the machines of environments where they are: their memory goes to disk, and `start` goes on from there'
complete -c wardian -n "__fish_wardian_needs_command" -f -a "start" -d 'Start the machines of environments again; those that were suspended go on where they were'
complete -c wardian -n "__fish_wardian_needs_command" -f -a "resume" -d 'Start the machines of environments again; those that were suspended go on where they were'
complete -c wardian -n "__fish_wardian_needs_command" -f -a "rm" -d 'Remove environments with everything that belongs to them'
complete -c wardian -n "__fish_wardian_needs_command" -f -a "snapshot" -d 'Keep a moment of an environment under a name: memory, devices and disks of all its machines'
complete -c wardian -n "__fish_wardian_needs_command" -f -a "restore" -d 'Take an environment back to a snapshot; its outside stays its own'
complete -c wardian -n "__fish_wardian_needs_command" -f -a "clone" -d 'Make new environments whose inside is the same and whose outside is their own'
complete -c wardian -n "__fish_wardian_needs_command" -f -a "conflicts" -d 'Say what environments would collide in, if they were not isolated'
complete -c wardian -n "__fish_wardian_needs_command" -f -a "expire" -d 'Change when an environment is removed by itself'
complete -c wardian -n "__fish_wardian_needs_command" -f -a "addresses" -d 'Print the inside and outside identities of an environment\'s machines'
complete -c wardian -n "__fish_wardian_needs_command" -f -a "fence" -d 'Say or change what may cross an environment\'s edge'
complete -c wardian -n "__fish_wardian_needs_command" -f -a "acl" -d 'Say or change what machines may say to whom, and be told by whom'
complete -c wardian -n "__fish_wardian_needs_command" -f -a "gateway" -d 'Say or change through whom an environment\'s machines reach the outside'
complete -c wardian -n "__fish_wardian_needs_command" -f -a "join" -d 'Join two environments: their machines reach each other by their inside addresses'
complete -c wardian -n "__fish_wardian_needs_command" -f -a "part" -d 'Part two environments that were joined'
complete -c wardian -n "__fish_wardian_needs_command" -f -a "expose" -d 'Let the outside reach a port of a machine'
complete -c wardian -n "__fish_wardian_needs_command" -f -a "exec" -d 'Run a command in a machine, through its guest agent'
complete -c wardian -n "__fish_wardian_needs_command" -f -a "console" -d 'Attach to a machine\'s serial console'
complete -c wardian -n "__fish_wardian_needs_command" -f -a "cp" -d 'Copy files into or out of a machine, through its guest agent'
complete -c wardian -n "__fish_wardian_needs_command" -f -a "image" -d 'Images that machines start from'
complete -c wardian -n "__fish_wardian_needs_command" -f -a "host" -d 'The host itself, and the others it shares its records with'
complete -c wardian -n "__fish_wardian_needs_command" -f -a "net" -d 'What crosses between hosts'
complete -c wardian -n "__fish_wardian_needs_command" -f -a "plan" -d 'What would be decided, and why'
complete -c wardian -n "__fish_wardian_needs_command" -f -a "daemon" -d 'Run the daemon of this host'
complete -c wardian -n "__fish_wardian_needs_command" -f -a "schema" -d 'Print the JSON Schema of the environment file'
complete -c wardian -n "__fish_wardian_needs_command" -f -a "openapi" -d 'Print the OpenAPI document of the API'
complete -c wardian -n "__fish_wardian_needs_command" -f -a "completions" -d 'Print the completions for a shell'
complete -c wardian -n "__fish_wardian_needs_command" -f -a "man" -d 'Write the man pages into a folder'
complete -c wardian -n "__fish_wardian_needs_command" -f -a "generate" -d 'Write the completions and man pages that are checked in'
complete -c wardian -n "__fish_wardian_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c wardian -n "__fish_wardian_using_subcommand up" -l name -d 'The name of the environment, instead of the one in the file' -r
complete -c wardian -n "__fish_wardian_using_subcommand up" -l expire -d 'Remove it by itself after this time, as in 8h, 90m or 2d' -r
complete -c wardian -n "__fish_wardian_using_subcommand up" -l owner -d 'Whose it is, for those who read `wardian ls`' -r
complete -c wardian -n "__fish_wardian_using_subcommand up" -l host -d 'The host to talk to: unix:///PATH of its socket' -r -f
complete -c wardian -n "__fish_wardian_using_subcommand up" -l check -d 'Only check the file: its form here, and whether it fits the host when a daemon answers'
complete -c wardian -n "__fish_wardian_using_subcommand up" -l no-start -d 'Make it, and leave it stopped'
complete -c wardian -n "__fish_wardian_using_subcommand up" -l no-wait -d 'Don\'t wait until the machines are ready'
complete -c wardian -n "__fish_wardian_using_subcommand up" -l json -d 'Print JSON instead of text'
complete -c wardian -n "__fish_wardian_using_subcommand up" -s q -l quiet -d 'Print no progress and no messages; errors and data are still printed'
complete -c wardian -n "__fish_wardian_using_subcommand up" -s v -l verbose -d 'Print what is going on in more detail; twice for still more'
complete -c wardian -n "__fish_wardian_using_subcommand up" -s h -l help -d 'Print help'
complete -c wardian -n "__fish_wardian_using_subcommand ls" -l host -d 'The host to talk to: unix:///PATH of its socket' -r -f
complete -c wardian -n "__fish_wardian_using_subcommand ls" -s l -l long -d 'Show owners and expiry times also when there are none'
complete -c wardian -n "__fish_wardian_using_subcommand ls" -l json -d 'Print JSON instead of text'
complete -c wardian -n "__fish_wardian_using_subcommand ls" -s q -l quiet -d 'Print no progress and no messages; errors and data are still printed'
complete -c wardian -n "__fish_wardian_using_subcommand ls" -s v -l verbose -d 'Print what is going on in more detail; twice for still more'
complete -c wardian -n "__fish_wardian_using_subcommand ls" -s h -l help -d 'Print help'
complete -c wardian -n "__fish_wardian_using_subcommand status" -l host -d 'The host to talk to: unix:///PATH of its socket' -r -f
complete -c wardian -n "__fish_wardian_using_subcommand status" -l json -d 'Print JSON instead of text'
complete -c wardian -n "__fish_wardian_using_subcommand status" -s q -l quiet -d 'Print no progress and no messages; errors and data are still printed'
complete -c wardian -n "__fish_wardian_using_subcommand status" -s v -l verbose -d 'Print what is going on in more detail; twice for still more'
complete -c wardian -n "__fish_wardian_using_subcommand status" -s h -l help -d 'Print help'
complete -c wardian -n "__fish_wardian_using_subcommand events" -l host -d 'The host to talk to: unix:///PATH of its socket' -r -f
complete -c wardian -n "__fish_wardian_using_subcommand events" -s f -l follow -d 'Go on printing what happens'
complete -c wardian -n "__fish_wardian_using_subcommand events" -l json -d 'Print JSON instead of text'
complete -c wardian -n "__fish_wardian_using_subcommand events" -s q -l quiet -d 'Print no progress and no messages; errors and data are still printed'
complete -c wardian -n "__fish_wardian_using_subcommand events" -s v -l verbose -d 'Print what is going on in more detail; twice for still more'
complete -c wardian -n "__fish_wardian_using_subcommand events" -s h -l help -d 'Print help'
complete -c wardian -n "__fish_wardian_using_subcommand down" -l host -d 'The host to talk to: unix:///PATH of its socket' -r -f
complete -c wardian -n "__fish_wardian_using_subcommand down" -l no-wait -d 'Don\'t wait until it is done'
complete -c wardian -n "__fish_wardian_using_subcommand down" -l json -d 'Print JSON instead of text'
complete -c wardian -n "__fish_wardian_using_subcommand down" -s q -l quiet -d 'Print no progress and no messages; errors and data are still printed'
complete -c wardian -n "__fish_wardian_using_subcommand down" -s v -l verbose -d 'Print what is going on in more detail; twice for still more'
complete -c wardian -n "__fish_wardian_using_subcommand down" -s h -l help -d 'Print help'
complete -c wardian -n "__fish_wardian_using_subcommand suspend" -l host -d 'The host to talk to: unix:///PATH of its socket' -r -f
complete -c wardian -n "__fish_wardian_using_subcommand suspend" -l no-wait -d 'Don\'t wait until it is done'
complete -c wardian -n "__fish_wardian_using_subcommand suspend" -l json -d 'Print JSON instead of text'
complete -c wardian -n "__fish_wardian_using_subcommand suspend" -s q -l quiet -d 'Print no progress and no messages; errors and data are still printed'
complete -c wardian -n "__fish_wardian_using_subcommand suspend" -s v -l verbose -d 'Print what is going on in more detail; twice for still more'
complete -c wardian -n "__fish_wardian_using_subcommand suspend" -s h -l help -d 'Print help'
complete -c wardian -n "__fish_wardian_using_subcommand start" -l host -d 'The host to talk to: unix:///PATH of its socket' -r -f
complete -c wardian -n "__fish_wardian_using_subcommand start" -l no-wait -d 'Don\'t wait until it is done'
complete -c wardian -n "__fish_wardian_using_subcommand start" -l json -d 'Print JSON instead of text'
complete -c wardian -n "__fish_wardian_using_subcommand start" -s q -l quiet -d 'Print no progress and no messages; errors and data are still printed'
complete -c wardian -n "__fish_wardian_using_subcommand start" -s v -l verbose -d 'Print what is going on in more detail; twice for still more'
complete -c wardian -n "__fish_wardian_using_subcommand start" -s h -l help -d 'Print help'
complete -c wardian -n "__fish_wardian_using_subcommand resume" -l host -d 'The host to talk to: unix:///PATH of its socket' -r -f
complete -c wardian -n "__fish_wardian_using_subcommand resume" -l no-wait -d 'Don\'t wait until it is done'
complete -c wardian -n "__fish_wardian_using_subcommand resume" -l json -d 'Print JSON instead of text'
complete -c wardian -n "__fish_wardian_using_subcommand resume" -s q -l quiet -d 'Print no progress and no messages; errors and data are still printed'
complete -c wardian -n "__fish_wardian_using_subcommand resume" -s v -l verbose -d 'Print what is going on in more detail; twice for still more'
complete -c wardian -n "__fish_wardian_using_subcommand resume" -s h -l help -d 'Print help'
complete -c wardian -n "__fish_wardian_using_subcommand rm" -l host -d 'The host to talk to: unix:///PATH of its socket' -r -f
complete -c wardian -n "__fish_wardian_using_subcommand rm" -l no-wait -d 'Don\'t wait until it is done'
complete -c wardian -n "__fish_wardian_using_subcommand rm" -l json -d 'Print JSON instead of text'
complete -c wardian -n "__fish_wardian_using_subcommand rm" -s q -l quiet -d 'Print no progress and no messages; errors and data are still printed'
complete -c wardian -n "__fish_wardian_using_subcommand rm" -s v -l verbose -d 'Print what is going on in more detail; twice for still more'
complete -c wardian -n "__fish_wardian_using_subcommand rm" -s h -l help -d 'Print help'
complete -c wardian -n "__fish_wardian_using_subcommand snapshot; and not __fish_seen_subcommand_from create ls rm help" -l host -d 'The host to talk to: unix:///PATH of its socket' -r -f
complete -c wardian -n "__fish_wardian_using_subcommand snapshot; and not __fish_seen_subcommand_from create ls rm help" -l json -d 'Print JSON instead of text'
complete -c wardian -n "__fish_wardian_using_subcommand snapshot; and not __fish_seen_subcommand_from create ls rm help" -s q -l quiet -d 'Print no progress and no messages; errors and data are still printed'
complete -c wardian -n "__fish_wardian_using_subcommand snapshot; and not __fish_seen_subcommand_from create ls rm help" -s v -l verbose -d 'Print what is going on in more detail; twice for still more'
complete -c wardian -n "__fish_wardian_using_subcommand snapshot; and not __fish_seen_subcommand_from create ls rm help" -s h -l help -d 'Print help'
complete -c wardian -n "__fish_wardian_using_subcommand snapshot; and not __fish_seen_subcommand_from create ls rm help" -f -a "create" -d 'Take a snapshot; the machines go on as they were, after a pause of milliseconds'
complete -c wardian -n "__fish_wardian_using_subcommand snapshot; and not __fish_seen_subcommand_from create ls rm help" -f -a "ls" -d 'Print the tree of an environment\'s snapshots, and where in it the environment is'
complete -c wardian -n "__fish_wardian_using_subcommand snapshot; and not __fish_seen_subcommand_from create ls rm help" -f -a "rm" -d 'Remove snapshots; those taken after them stay whole'
complete -c wardian -n "__fish_wardian_using_subcommand snapshot; and not __fish_seen_subcommand_from create ls rm help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c wardian -n "__fish_wardian_using_subcommand snapshot; and __fish_seen_subcommand_from create" -l host -d 'The host to talk to: unix:///PATH of its socket' -r -f
complete -c wardian -n "__fish_wardian_using_subcommand snapshot; and __fish_seen_subcommand_from create" -l disk-only -d 'Keep the disks only; machines that start from it boot'
complete -c wardian -n "__fish_wardian_using_subcommand snapshot; and __fish_seen_subcommand_from create" -l no-wait -d 'Don\'t wait until it is taken'
complete -c wardian -n "__fish_wardian_using_subcommand snapshot; and __fish_seen_subcommand_from create" -l json -d 'Print JSON instead of text'
complete -c wardian -n "__fish_wardian_using_subcommand snapshot; and __fish_seen_subcommand_from create" -s q -l quiet -d 'Print no progress and no messages; errors and data are still printed'
complete -c wardian -n "__fish_wardian_using_subcommand snapshot; and __fish_seen_subcommand_from create" -s v -l verbose -d 'Print what is going on in more detail; twice for still more'
complete -c wardian -n "__fish_wardian_using_subcommand snapshot; and __fish_seen_subcommand_from create" -s h -l help -d 'Print help'
complete -c wardian -n "__fish_wardian_using_subcommand snapshot; and __fish_seen_subcommand_from ls" -l host -d 'The host to talk to: unix:///PATH of its socket' -r -f
complete -c wardian -n "__fish_wardian_using_subcommand snapshot; and __fish_seen_subcommand_from ls" -l json -d 'Print JSON instead of text'
complete -c wardian -n "__fish_wardian_using_subcommand snapshot; and __fish_seen_subcommand_from ls" -s q -l quiet -d 'Print no progress and no messages; errors and data are still printed'
complete -c wardian -n "__fish_wardian_using_subcommand snapshot; and __fish_seen_subcommand_from ls" -s v -l verbose -d 'Print what is going on in more detail; twice for still more'
complete -c wardian -n "__fish_wardian_using_subcommand snapshot; and __fish_seen_subcommand_from ls" -s h -l help -d 'Print help'
complete -c wardian -n "__fish_wardian_using_subcommand snapshot; and __fish_seen_subcommand_from rm" -l host -d 'The host to talk to: unix:///PATH of its socket' -r -f
complete -c wardian -n "__fish_wardian_using_subcommand snapshot; and __fish_seen_subcommand_from rm" -l json -d 'Print JSON instead of text'
complete -c wardian -n "__fish_wardian_using_subcommand snapshot; and __fish_seen_subcommand_from rm" -s q -l quiet -d 'Print no progress and no messages; errors and data are still printed'
complete -c wardian -n "__fish_wardian_using_subcommand snapshot; and __fish_seen_subcommand_from rm" -s v -l verbose -d 'Print what is going on in more detail; twice for still more'
complete -c wardian -n "__fish_wardian_using_subcommand snapshot; and __fish_seen_subcommand_from rm" -s h -l help -d 'Print help'
complete -c wardian -n "__fish_wardian_using_subcommand snapshot; and __fish_seen_subcommand_from help" -f -a "create" -d 'Take a snapshot; the machines go on as they were, after a pause of milliseconds'
complete -c wardian -n "__fish_wardian_using_subcommand snapshot; and __fish_seen_subcommand_from help" -f -a "ls" -d 'Print the tree of an environment\'s snapshots, and where in it the environment is'
complete -c wardian -n "__fish_wardian_using_subcommand snapshot; and __fish_seen_subcommand_from help" -f -a "rm" -d 'Remove snapshots; those taken after them stay whole'
complete -c wardian -n "__fish_wardian_using_subcommand snapshot; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c wardian -n "__fish_wardian_using_subcommand restore" -l host -d 'The host to talk to: unix:///PATH of its socket' -r -f
complete -c wardian -n "__fish_wardian_using_subcommand restore" -l no-wait -d 'Don\'t wait until the machines are ready'
complete -c wardian -n "__fish_wardian_using_subcommand restore" -l json -d 'Print JSON instead of text'
complete -c wardian -n "__fish_wardian_using_subcommand restore" -s q -l quiet -d 'Print no progress and no messages; errors and data are still printed'
complete -c wardian -n "__fish_wardian_using_subcommand restore" -s v -l verbose -d 'Print what is going on in more detail; twice for still more'
complete -c wardian -n "__fish_wardian_using_subcommand restore" -s h -l help -d 'Print help'
complete -c wardian -n "__fish_wardian_using_subcommand clone" -l count -d 'How many clones, 1 to 1000' -r
complete -c wardian -n "__fish_wardian_using_subcommand clone" -l owner -d 'Whose the clones are, for those who read `wardian ls`' -r
complete -c wardian -n "__fish_wardian_using_subcommand clone" -l expire -d 'Remove the clones by themselves after this time, as in 8h, 90m or 2d' -r
complete -c wardian -n "__fish_wardian_using_subcommand clone" -l host -d 'The host to talk to: unix:///PATH of its socket' -r -f
complete -c wardian -n "__fish_wardian_using_subcommand clone" -l boot -d 'Start from the disks, without the memory'
complete -c wardian -n "__fish_wardian_using_subcommand clone" -l customize -d 'Give the machines other hostnames, addresses and ids inside: they boot and configure themselves anew. Whatever was configured with the old ones has to be told the new ones'
complete -c wardian -n "__fish_wardian_using_subcommand clone" -l no-wait -d 'Don\'t wait until the machines are ready'
complete -c wardian -n "__fish_wardian_using_subcommand clone" -l json -d 'Print JSON instead of text'
complete -c wardian -n "__fish_wardian_using_subcommand clone" -s q -l quiet -d 'Print no progress and no messages; errors and data are still printed'
complete -c wardian -n "__fish_wardian_using_subcommand clone" -s v -l verbose -d 'Print what is going on in more detail; twice for still more'
complete -c wardian -n "__fish_wardian_using_subcommand clone" -s h -l help -d 'Print help'
complete -c wardian -n "__fish_wardian_using_subcommand conflicts" -l host -d 'The host to talk to: unix:///PATH of its socket' -r -f
complete -c wardian -n "__fish_wardian_using_subcommand conflicts" -l json -d 'Print JSON instead of text'
complete -c wardian -n "__fish_wardian_using_subcommand conflicts" -s q -l quiet -d 'Print no progress and no messages; errors and data are still printed'
complete -c wardian -n "__fish_wardian_using_subcommand conflicts" -s v -l verbose -d 'Print what is going on in more detail; twice for still more'
complete -c wardian -n "__fish_wardian_using_subcommand conflicts" -s h -l help -d 'Print help'
complete -c wardian -n "__fish_wardian_using_subcommand expire" -l host -d 'The host to talk to: unix:///PATH of its socket' -r -f
complete -c wardian -n "__fish_wardian_using_subcommand expire" -l json -d 'Print JSON instead of text'
complete -c wardian -n "__fish_wardian_using_subcommand expire" -s q -l quiet -d 'Print no progress and no messages; errors and data are still printed'
complete -c wardian -n "__fish_wardian_using_subcommand expire" -s v -l verbose -d 'Print what is going on in more detail; twice for still more'
complete -c wardian -n "__fish_wardian_using_subcommand expire" -s h -l help -d 'Print help'
complete -c wardian -n "__fish_wardian_using_subcommand addresses" -l host -d 'The host to talk to: unix:///PATH of its socket' -r -f
complete -c wardian -n "__fish_wardian_using_subcommand addresses" -l json -d 'Print JSON instead of text'
complete -c wardian -n "__fish_wardian_using_subcommand addresses" -s q -l quiet -d 'Print no progress and no messages; errors and data are still printed'
complete -c wardian -n "__fish_wardian_using_subcommand addresses" -s v -l verbose -d 'Print what is going on in more detail; twice for still more'
complete -c wardian -n "__fish_wardian_using_subcommand addresses" -s h -l help -d 'Print help'
complete -c wardian -n "__fish_wardian_using_subcommand fence" -l host -d 'The host to talk to: unix:///PATH of its socket' -r -f
complete -c wardian -n "__fish_wardian_using_subcommand fence" -l json -d 'Print JSON instead of text'
complete -c wardian -n "__fish_wardian_using_subcommand fence" -s q -l quiet -d 'Print no progress and no messages; errors and data are still printed'
complete -c wardian -n "__fish_wardian_using_subcommand fence" -s v -l verbose -d 'Print what is going on in more detail; twice for still more'
complete -c wardian -n "__fish_wardian_using_subcommand fence" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c wardian -n "__fish_wardian_using_subcommand acl" -l host -d 'The host to talk to: unix:///PATH of its socket' -r -f
complete -c wardian -n "__fish_wardian_using_subcommand acl" -l clear -d 'Take all rules of the target away'
complete -c wardian -n "__fish_wardian_using_subcommand acl" -l json -d 'Print JSON instead of text'
complete -c wardian -n "__fish_wardian_using_subcommand acl" -s q -l quiet -d 'Print no progress and no messages; errors and data are still printed'
complete -c wardian -n "__fish_wardian_using_subcommand acl" -s v -l verbose -d 'Print what is going on in more detail; twice for still more'
complete -c wardian -n "__fish_wardian_using_subcommand acl" -s h -l help -d 'Print help'
complete -c wardian -n "__fish_wardian_using_subcommand gateway" -l host -d 'The host to talk to: unix:///PATH of its socket' -r -f
complete -c wardian -n "__fish_wardian_using_subcommand gateway" -l json -d 'Print JSON instead of text'
complete -c wardian -n "__fish_wardian_using_subcommand gateway" -s q -l quiet -d 'Print no progress and no messages; errors and data are still printed'
complete -c wardian -n "__fish_wardian_using_subcommand gateway" -s v -l verbose -d 'Print what is going on in more detail; twice for still more'
complete -c wardian -n "__fish_wardian_using_subcommand gateway" -s h -l help -d 'Print help'
complete -c wardian -n "__fish_wardian_using_subcommand join" -l host -d 'The host to talk to: unix:///PATH of its socket' -r -f
complete -c wardian -n "__fish_wardian_using_subcommand join" -l json -d 'Print JSON instead of text'
complete -c wardian -n "__fish_wardian_using_subcommand join" -s q -l quiet -d 'Print no progress and no messages; errors and data are still printed'
complete -c wardian -n "__fish_wardian_using_subcommand join" -s v -l verbose -d 'Print what is going on in more detail; twice for still more'
complete -c wardian -n "__fish_wardian_using_subcommand join" -s h -l help -d 'Print help'
complete -c wardian -n "__fish_wardian_using_subcommand part" -l host -d 'The host to talk to: unix:///PATH of its socket' -r -f
complete -c wardian -n "__fish_wardian_using_subcommand part" -l json -d 'Print JSON instead of text'
complete -c wardian -n "__fish_wardian_using_subcommand part" -s q -l quiet -d 'Print no progress and no messages; errors and data are still printed'
complete -c wardian -n "__fish_wardian_using_subcommand part" -s v -l verbose -d 'Print what is going on in more detail; twice for still more'
complete -c wardian -n "__fish_wardian_using_subcommand part" -s h -l help -d 'Print help'
complete -c wardian -n "__fish_wardian_using_subcommand expose" -l at -d 'The port of the host that leads there; a free one is chosen without' -r
complete -c wardian -n "__fish_wardian_using_subcommand expose" -l host -d 'The host to talk to: unix:///PATH of its socket' -r -f
complete -c wardian -n "__fish_wardian_using_subcommand expose" -l remove -d 'Close it again'
complete -c wardian -n "__fish_wardian_using_subcommand expose" -l json -d 'Print JSON instead of text'
complete -c wardian -n "__fish_wardian_using_subcommand expose" -s q -l quiet -d 'Print no progress and no messages; errors and data are still printed'
complete -c wardian -n "__fish_wardian_using_subcommand expose" -s v -l verbose -d 'Print what is going on in more detail; twice for still more'
complete -c wardian -n "__fish_wardian_using_subcommand expose" -s h -l help -d 'Print help'
complete -c wardian -n "__fish_wardian_using_subcommand exec" -l timeout -d 'How long the command may take, as in 90s or 5m; 60s by default' -r
complete -c wardian -n "__fish_wardian_using_subcommand exec" -l host -d 'The host to talk to: unix:///PATH of its socket' -r -f
complete -c wardian -n "__fish_wardian_using_subcommand exec" -s i -l interactive -d 'Pass standard input on, up to its end'
complete -c wardian -n "__fish_wardian_using_subcommand exec" -l json -d 'Print JSON instead of text'
complete -c wardian -n "__fish_wardian_using_subcommand exec" -s q -l quiet -d 'Print no progress and no messages; errors and data are still printed'
complete -c wardian -n "__fish_wardian_using_subcommand exec" -s v -l verbose -d 'Print what is going on in more detail; twice for still more'
complete -c wardian -n "__fish_wardian_using_subcommand exec" -s h -l help -d 'Print help'
complete -c wardian -n "__fish_wardian_using_subcommand console" -l host -d 'The host to talk to: unix:///PATH of its socket' -r -f
complete -c wardian -n "__fish_wardian_using_subcommand console" -l tail -d 'Only print what the console printed last, and end'
complete -c wardian -n "__fish_wardian_using_subcommand console" -l json -d 'Print JSON instead of text'
complete -c wardian -n "__fish_wardian_using_subcommand console" -s q -l quiet -d 'Print no progress and no messages; errors and data are still printed'
complete -c wardian -n "__fish_wardian_using_subcommand console" -s v -l verbose -d 'Print what is going on in more detail; twice for still more'
complete -c wardian -n "__fish_wardian_using_subcommand console" -s h -l help -d 'Print help'
complete -c wardian -n "__fish_wardian_using_subcommand cp" -l host -d 'The host to talk to: unix:///PATH of its socket' -r -f
complete -c wardian -n "__fish_wardian_using_subcommand cp" -s r -l recursive -d 'Copy a folder with all it contains (the machine needs `tar`)'
complete -c wardian -n "__fish_wardian_using_subcommand cp" -l json -d 'Print JSON instead of text'
complete -c wardian -n "__fish_wardian_using_subcommand cp" -s q -l quiet -d 'Print no progress and no messages; errors and data are still printed'
complete -c wardian -n "__fish_wardian_using_subcommand cp" -s v -l verbose -d 'Print what is going on in more detail; twice for still more'
complete -c wardian -n "__fish_wardian_using_subcommand cp" -s h -l help -d 'Print help'
complete -c wardian -n "__fish_wardian_using_subcommand image; and not __fish_seen_subcommand_from import ls rm help" -l host -d 'The host to talk to: unix:///PATH of its socket' -r -f
complete -c wardian -n "__fish_wardian_using_subcommand image; and not __fish_seen_subcommand_from import ls rm help" -l json -d 'Print JSON instead of text'
complete -c wardian -n "__fish_wardian_using_subcommand image; and not __fish_seen_subcommand_from import ls rm help" -s q -l quiet -d 'Print no progress and no messages; errors and data are still printed'
complete -c wardian -n "__fish_wardian_using_subcommand image; and not __fish_seen_subcommand_from import ls rm help" -s v -l verbose -d 'Print what is going on in more detail; twice for still more'
complete -c wardian -n "__fish_wardian_using_subcommand image; and not __fish_seen_subcommand_from import ls rm help" -s h -l help -d 'Print help'
complete -c wardian -n "__fish_wardian_using_subcommand image; and not __fish_seen_subcommand_from import ls rm help" -f -a "import" -d 'Import a disk: qcow2, raw, vmdk, vhdx or vhd'
complete -c wardian -n "__fish_wardian_using_subcommand image; and not __fish_seen_subcommand_from import ls rm help" -f -a "ls" -d 'List the images'
complete -c wardian -n "__fish_wardian_using_subcommand image; and not __fish_seen_subcommand_from import ls rm help" -f -a "rm" -d 'Remove images that no machine uses'
complete -c wardian -n "__fish_wardian_using_subcommand image; and not __fish_seen_subcommand_from import ls rm help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c wardian -n "__fish_wardian_using_subcommand image; and __fish_seen_subcommand_from import" -l kernel -d 'A kernel to boot directly, instead of the disk\'s boot loader' -r -F
complete -c wardian -n "__fish_wardian_using_subcommand image; and __fish_seen_subcommand_from import" -l initrd -d 'The kernel\'s initial RAM disk' -r -F
complete -c wardian -n "__fish_wardian_using_subcommand image; and __fish_seen_subcommand_from import" -l command-line -d 'The kernel\'s command line' -r
complete -c wardian -n "__fish_wardian_using_subcommand image; and __fish_seen_subcommand_from import" -l host -d 'The host to talk to: unix:///PATH of its socket' -r -f
complete -c wardian -n "__fish_wardian_using_subcommand image; and __fish_seen_subcommand_from import" -l json -d 'Print JSON instead of text'
complete -c wardian -n "__fish_wardian_using_subcommand image; and __fish_seen_subcommand_from import" -s q -l quiet -d 'Print no progress and no messages; errors and data are still printed'
complete -c wardian -n "__fish_wardian_using_subcommand image; and __fish_seen_subcommand_from import" -s v -l verbose -d 'Print what is going on in more detail; twice for still more'
complete -c wardian -n "__fish_wardian_using_subcommand image; and __fish_seen_subcommand_from import" -s h -l help -d 'Print help'
complete -c wardian -n "__fish_wardian_using_subcommand image; and __fish_seen_subcommand_from ls" -l host -d 'The host to talk to: unix:///PATH of its socket' -r -f
complete -c wardian -n "__fish_wardian_using_subcommand image; and __fish_seen_subcommand_from ls" -l json -d 'Print JSON instead of text'
complete -c wardian -n "__fish_wardian_using_subcommand image; and __fish_seen_subcommand_from ls" -s q -l quiet -d 'Print no progress and no messages; errors and data are still printed'
complete -c wardian -n "__fish_wardian_using_subcommand image; and __fish_seen_subcommand_from ls" -s v -l verbose -d 'Print what is going on in more detail; twice for still more'
complete -c wardian -n "__fish_wardian_using_subcommand image; and __fish_seen_subcommand_from ls" -s h -l help -d 'Print help'
complete -c wardian -n "__fish_wardian_using_subcommand image; and __fish_seen_subcommand_from rm" -l host -d 'The host to talk to: unix:///PATH of its socket' -r -f
complete -c wardian -n "__fish_wardian_using_subcommand image; and __fish_seen_subcommand_from rm" -l json -d 'Print JSON instead of text'
complete -c wardian -n "__fish_wardian_using_subcommand image; and __fish_seen_subcommand_from rm" -s q -l quiet -d 'Print no progress and no messages; errors and data are still printed'
complete -c wardian -n "__fish_wardian_using_subcommand image; and __fish_seen_subcommand_from rm" -s v -l verbose -d 'Print what is going on in more detail; twice for still more'
complete -c wardian -n "__fish_wardian_using_subcommand image; and __fish_seen_subcommand_from rm" -s h -l help -d 'Print help'
complete -c wardian -n "__fish_wardian_using_subcommand image; and __fish_seen_subcommand_from help" -f -a "import" -d 'Import a disk: qcow2, raw, vmdk, vhdx or vhd'
complete -c wardian -n "__fish_wardian_using_subcommand image; and __fish_seen_subcommand_from help" -f -a "ls" -d 'List the images'
complete -c wardian -n "__fish_wardian_using_subcommand image; and __fish_seen_subcommand_from help" -f -a "rm" -d 'Remove images that no machine uses'
complete -c wardian -n "__fish_wardian_using_subcommand image; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c wardian -n "__fish_wardian_using_subcommand host; and not __fish_seen_subcommand_from check ls join help" -l host -d 'The host to talk to: unix:///PATH of its socket' -r -f
complete -c wardian -n "__fish_wardian_using_subcommand host; and not __fish_seen_subcommand_from check ls join help" -l json -d 'Print JSON instead of text'
complete -c wardian -n "__fish_wardian_using_subcommand host; and not __fish_seen_subcommand_from check ls join help" -s q -l quiet -d 'Print no progress and no messages; errors and data are still printed'
complete -c wardian -n "__fish_wardian_using_subcommand host; and not __fish_seen_subcommand_from check ls join help" -s v -l verbose -d 'Print what is going on in more detail; twice for still more'
complete -c wardian -n "__fish_wardian_using_subcommand host; and not __fish_seen_subcommand_from check ls join help" -s h -l help -d 'Print help'
complete -c wardian -n "__fish_wardian_using_subcommand host; and not __fish_seen_subcommand_from check ls join help" -f -a "check" -d 'Say whether this host has what Wardian needs, and what to do where it hasn\'t'
complete -c wardian -n "__fish_wardian_using_subcommand host; and not __fish_seen_subcommand_from check ls join help" -f -a "ls" -d 'List the hosts of the cluster'
complete -c wardian -n "__fish_wardian_using_subcommand host; and not __fish_seen_subcommand_from check ls join help" -f -a "join" -d 'Bring this host into the cluster that its configuration names by now'
complete -c wardian -n "__fish_wardian_using_subcommand host; and not __fish_seen_subcommand_from check ls join help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c wardian -n "__fish_wardian_using_subcommand host; and __fish_seen_subcommand_from check" -l host -d 'The host to talk to: unix:///PATH of its socket' -r -f
complete -c wardian -n "__fish_wardian_using_subcommand host; and __fish_seen_subcommand_from check" -l json -d 'Print JSON instead of text'
complete -c wardian -n "__fish_wardian_using_subcommand host; and __fish_seen_subcommand_from check" -s q -l quiet -d 'Print no progress and no messages; errors and data are still printed'
complete -c wardian -n "__fish_wardian_using_subcommand host; and __fish_seen_subcommand_from check" -s v -l verbose -d 'Print what is going on in more detail; twice for still more'
complete -c wardian -n "__fish_wardian_using_subcommand host; and __fish_seen_subcommand_from check" -s h -l help -d 'Print help'
complete -c wardian -n "__fish_wardian_using_subcommand host; and __fish_seen_subcommand_from ls" -l host -d 'The host to talk to: unix:///PATH of its socket' -r -f
complete -c wardian -n "__fish_wardian_using_subcommand host; and __fish_seen_subcommand_from ls" -l json -d 'Print JSON instead of text'
complete -c wardian -n "__fish_wardian_using_subcommand host; and __fish_seen_subcommand_from ls" -s q -l quiet -d 'Print no progress and no messages; errors and data are still printed'
complete -c wardian -n "__fish_wardian_using_subcommand host; and __fish_seen_subcommand_from ls" -s v -l verbose -d 'Print what is going on in more detail; twice for still more'
complete -c wardian -n "__fish_wardian_using_subcommand host; and __fish_seen_subcommand_from ls" -s h -l help -d 'Print help'
complete -c wardian -n "__fish_wardian_using_subcommand host; and __fish_seen_subcommand_from join" -l host -d 'The host to talk to: unix:///PATH of its socket' -r -f
complete -c wardian -n "__fish_wardian_using_subcommand host; and __fish_seen_subcommand_from join" -l json -d 'Print JSON instead of text'
complete -c wardian -n "__fish_wardian_using_subcommand host; and __fish_seen_subcommand_from join" -s q -l quiet -d 'Print no progress and no messages; errors and data are still printed'
complete -c wardian -n "__fish_wardian_using_subcommand host; and __fish_seen_subcommand_from join" -s v -l verbose -d 'Print what is going on in more detail; twice for still more'
complete -c wardian -n "__fish_wardian_using_subcommand host; and __fish_seen_subcommand_from join" -s h -l help -d 'Print help'
complete -c wardian -n "__fish_wardian_using_subcommand host; and __fish_seen_subcommand_from help" -f -a "check" -d 'Say whether this host has what Wardian needs, and what to do where it hasn\'t'
complete -c wardian -n "__fish_wardian_using_subcommand host; and __fish_seen_subcommand_from help" -f -a "ls" -d 'List the hosts of the cluster'
complete -c wardian -n "__fish_wardian_using_subcommand host; and __fish_seen_subcommand_from help" -f -a "join" -d 'Bring this host into the cluster that its configuration names by now'
complete -c wardian -n "__fish_wardian_using_subcommand host; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c wardian -n "__fish_wardian_using_subcommand net; and not __fish_seen_subcommand_from show help" -l host -d 'The host to talk to: unix:///PATH of its socket' -r -f
complete -c wardian -n "__fish_wardian_using_subcommand net; and not __fish_seen_subcommand_from show help" -l json -d 'Print JSON instead of text'
complete -c wardian -n "__fish_wardian_using_subcommand net; and not __fish_seen_subcommand_from show help" -s q -l quiet -d 'Print no progress and no messages; errors and data are still printed'
complete -c wardian -n "__fish_wardian_using_subcommand net; and not __fish_seen_subcommand_from show help" -s v -l verbose -d 'Print what is going on in more detail; twice for still more'
complete -c wardian -n "__fish_wardian_using_subcommand net; and not __fish_seen_subcommand_from show help" -s h -l help -d 'Print help'
complete -c wardian -n "__fish_wardian_using_subcommand net; and not __fish_seen_subcommand_from show help" -f -a "show" -d 'Say what the packet filter of this host has carried to and from the others, and what it has dropped'
complete -c wardian -n "__fish_wardian_using_subcommand net; and not __fish_seen_subcommand_from show help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c wardian -n "__fish_wardian_using_subcommand net; and __fish_seen_subcommand_from show" -l host -d 'The host to talk to: unix:///PATH of its socket' -r -f
complete -c wardian -n "__fish_wardian_using_subcommand net; and __fish_seen_subcommand_from show" -l json -d 'Print JSON instead of text'
complete -c wardian -n "__fish_wardian_using_subcommand net; and __fish_seen_subcommand_from show" -s q -l quiet -d 'Print no progress and no messages; errors and data are still printed'
complete -c wardian -n "__fish_wardian_using_subcommand net; and __fish_seen_subcommand_from show" -s v -l verbose -d 'Print what is going on in more detail; twice for still more'
complete -c wardian -n "__fish_wardian_using_subcommand net; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help'
complete -c wardian -n "__fish_wardian_using_subcommand net; and __fish_seen_subcommand_from help" -f -a "show" -d 'Say what the packet filter of this host has carried to and from the others, and what it has dropped'
complete -c wardian -n "__fish_wardian_using_subcommand net; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c wardian -n "__fish_wardian_using_subcommand plan; and not __fish_seen_subcommand_from place help" -l host -d 'The host to talk to: unix:///PATH of its socket' -r -f
complete -c wardian -n "__fish_wardian_using_subcommand plan; and not __fish_seen_subcommand_from place help" -l json -d 'Print JSON instead of text'
complete -c wardian -n "__fish_wardian_using_subcommand plan; and not __fish_seen_subcommand_from place help" -s q -l quiet -d 'Print no progress and no messages; errors and data are still printed'
complete -c wardian -n "__fish_wardian_using_subcommand plan; and not __fish_seen_subcommand_from place help" -s v -l verbose -d 'Print what is going on in more detail; twice for still more'
complete -c wardian -n "__fish_wardian_using_subcommand plan; and not __fish_seen_subcommand_from place help" -s h -l help -d 'Print help'
complete -c wardian -n "__fish_wardian_using_subcommand plan; and not __fish_seen_subcommand_from place help" -f -a "place" -d 'Say which host an environment would go to'
complete -c wardian -n "__fish_wardian_using_subcommand plan; and not __fish_seen_subcommand_from place help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c wardian -n "__fish_wardian_using_subcommand plan; and __fish_seen_subcommand_from place" -l name -d 'The name of the environment, instead of the one in the file' -r
complete -c wardian -n "__fish_wardian_using_subcommand plan; and __fish_seen_subcommand_from place" -l host -d 'The host to talk to: unix:///PATH of its socket' -r -f
complete -c wardian -n "__fish_wardian_using_subcommand plan; and __fish_seen_subcommand_from place" -l explain -d 'Say why there, and what the other hosts were to it'
complete -c wardian -n "__fish_wardian_using_subcommand plan; and __fish_seen_subcommand_from place" -l json -d 'Print JSON instead of text'
complete -c wardian -n "__fish_wardian_using_subcommand plan; and __fish_seen_subcommand_from place" -s q -l quiet -d 'Print no progress and no messages; errors and data are still printed'
complete -c wardian -n "__fish_wardian_using_subcommand plan; and __fish_seen_subcommand_from place" -s v -l verbose -d 'Print what is going on in more detail; twice for still more'
complete -c wardian -n "__fish_wardian_using_subcommand plan; and __fish_seen_subcommand_from place" -s h -l help -d 'Print help'
complete -c wardian -n "__fish_wardian_using_subcommand plan; and __fish_seen_subcommand_from help" -f -a "place" -d 'Say which host an environment would go to'
complete -c wardian -n "__fish_wardian_using_subcommand plan; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c wardian -n "__fish_wardian_using_subcommand daemon" -l config -d 'The configuration; /etc/wardian/wardian.toml by default, if it exists' -r -F
complete -c wardian -n "__fish_wardian_using_subcommand daemon" -l state-directory -d 'Where records and disks are kept' -r -f -a "(__fish_complete_directories)"
complete -c wardian -n "__fish_wardian_using_subcommand daemon" -l run-directory -d 'Where sockets and what else must not outlive a boot is kept' -r -f -a "(__fish_complete_directories)"
complete -c wardian -n "__fish_wardian_using_subcommand daemon" -l socket -d 'The socket of the API' -r -F
complete -c wardian -n "__fish_wardian_using_subcommand daemon" -l socket-group -d 'The group that may use the socket' -r
complete -c wardian -n "__fish_wardian_using_subcommand daemon" -l lab-bridge -d 'The bridge of the lab network' -r
complete -c wardian -n "__fish_wardian_using_subcommand daemon" -l lab-prefix -d 'The addresses of the lab network' -r
complete -c wardian -n "__fish_wardian_using_subcommand daemon" -l lab-zone -d 'The DNS zone of machines\' names on the lab network' -r
complete -c wardian -n "__fish_wardian_using_subcommand daemon" -l accelerator -d 'How guests\' instructions are run' -r -f -a "auto\t'KVM where it is proven to work, translation elsewhere'
kvm\t'By the processor'
tcg\t'By translation in QEMU'"
complete -c wardian -n "__fish_wardian_using_subcommand daemon" -l qemu -d 'The QEMU to run machines with' -r -F
complete -c wardian -n "__fish_wardian_using_subcommand daemon" -l host -d 'The host to talk to: unix:///PATH of its socket' -r -f
complete -c wardian -n "__fish_wardian_using_subcommand daemon" -l json -d 'Print JSON instead of text'
complete -c wardian -n "__fish_wardian_using_subcommand daemon" -s q -l quiet -d 'Print no progress and no messages; errors and data are still printed'
complete -c wardian -n "__fish_wardian_using_subcommand daemon" -s v -l verbose -d 'Print what is going on in more detail; twice for still more'
complete -c wardian -n "__fish_wardian_using_subcommand daemon" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c wardian -n "__fish_wardian_using_subcommand schema" -l host -d 'The host to talk to: unix:///PATH of its socket' -r -f
complete -c wardian -n "__fish_wardian_using_subcommand schema" -l json -d 'Print JSON instead of text'
complete -c wardian -n "__fish_wardian_using_subcommand schema" -s q -l quiet -d 'Print no progress and no messages; errors and data are still printed'
complete -c wardian -n "__fish_wardian_using_subcommand schema" -s v -l verbose -d 'Print what is going on in more detail; twice for still more'
complete -c wardian -n "__fish_wardian_using_subcommand schema" -s h -l help -d 'Print help'
complete -c wardian -n "__fish_wardian_using_subcommand openapi" -l host -d 'The host to talk to: unix:///PATH of its socket' -r -f
complete -c wardian -n "__fish_wardian_using_subcommand openapi" -l json -d 'Print JSON instead of text'
complete -c wardian -n "__fish_wardian_using_subcommand openapi" -s q -l quiet -d 'Print no progress and no messages; errors and data are still printed'
complete -c wardian -n "__fish_wardian_using_subcommand openapi" -s v -l verbose -d 'Print what is going on in more detail; twice for still more'
complete -c wardian -n "__fish_wardian_using_subcommand openapi" -s h -l help -d 'Print help'
complete -c wardian -n "__fish_wardian_using_subcommand completions" -l host -d 'The host to talk to: unix:///PATH of its socket' -r -f
complete -c wardian -n "__fish_wardian_using_subcommand completions" -l json -d 'Print JSON instead of text'
complete -c wardian -n "__fish_wardian_using_subcommand completions" -s q -l quiet -d 'Print no progress and no messages; errors and data are still printed'
complete -c wardian -n "__fish_wardian_using_subcommand completions" -s v -l verbose -d 'Print what is going on in more detail; twice for still more'
complete -c wardian -n "__fish_wardian_using_subcommand completions" -s h -l help -d 'Print help'
complete -c wardian -n "__fish_wardian_using_subcommand man" -l host -d 'The host to talk to: unix:///PATH of its socket' -r -f
complete -c wardian -n "__fish_wardian_using_subcommand man" -l json -d 'Print JSON instead of text'
complete -c wardian -n "__fish_wardian_using_subcommand man" -s q -l quiet -d 'Print no progress and no messages; errors and data are still printed'
complete -c wardian -n "__fish_wardian_using_subcommand man" -s v -l verbose -d 'Print what is going on in more detail; twice for still more'
complete -c wardian -n "__fish_wardian_using_subcommand man" -s h -l help -d 'Print help'
complete -c wardian -n "__fish_wardian_using_subcommand generate" -l directory -d 'The packaging folder' -r -F
complete -c wardian -n "__fish_wardian_using_subcommand generate" -l host -d 'The host to talk to: unix:///PATH of its socket' -r -f
complete -c wardian -n "__fish_wardian_using_subcommand generate" -l check -d 'Change nothing; fail when a file is not what it would be made to be'
complete -c wardian -n "__fish_wardian_using_subcommand generate" -l json -d 'Print JSON instead of text'
complete -c wardian -n "__fish_wardian_using_subcommand generate" -s q -l quiet -d 'Print no progress and no messages; errors and data are still printed'
complete -c wardian -n "__fish_wardian_using_subcommand generate" -s v -l verbose -d 'Print what is going on in more detail; twice for still more'
complete -c wardian -n "__fish_wardian_using_subcommand generate" -s h -l help -d 'Print help'
complete -c wardian -n "__fish_wardian_using_subcommand help; and not __fish_seen_subcommand_from up ls status events down suspend start rm snapshot restore clone conflicts expire addresses fence acl gateway join part expose exec console cp image host net plan daemon schema openapi completions man generate help" -f -a "up" -d 'Bring up the environment a file describes, and wait until all its machines are ready'
complete -c wardian -n "__fish_wardian_using_subcommand help; and not __fish_seen_subcommand_from up ls status events down suspend start rm snapshot restore clone conflicts expire addresses fence acl gateway join part expose exec console cp image host net plan daemon schema openapi completions man generate help" -f -a "ls" -d 'List the environments'
complete -c wardian -n "__fish_wardian_using_subcommand help; and not __fish_seen_subcommand_from up ls status events down suspend start rm snapshot restore clone conflicts expire addresses fence acl gateway join part expose exec console cp image host net plan daemon schema openapi completions man generate help" -f -a "status" -d 'Say what is wrong and what to do about it; of one environment, how each machine stands'
complete -c wardian -n "__fish_wardian_using_subcommand help; and not __fish_seen_subcommand_from up ls status events down suspend start rm snapshot restore clone conflicts expire addresses fence acl gateway join part expose exec console cp image host net plan daemon schema openapi completions man generate help" -f -a "events" -d 'Print what happened, oldest first'
complete -c wardian -n "__fish_wardian_using_subcommand help; and not __fish_seen_subcommand_from up ls status events down suspend start rm snapshot restore clone conflicts expire addresses fence acl gateway join part expose exec console cp image host net plan daemon schema openapi completions man generate help" -f -a "down" -d 'Stop the machines of environments; disks and identities are kept'
complete -c wardian -n "__fish_wardian_using_subcommand help; and not __fish_seen_subcommand_from up ls status events down suspend start rm snapshot restore clone conflicts expire addresses fence acl gateway join part expose exec console cp image host net plan daemon schema openapi completions man generate help" -f -a "suspend" -d 'Stop the machines of environments where they are: their memory goes to disk, and `start` goes on from there'
complete -c wardian -n "__fish_wardian_using_subcommand help; and not __fish_seen_subcommand_from up ls status events down suspend start rm snapshot restore clone conflicts expire addresses fence acl gateway join part expose exec console cp image host net plan daemon schema openapi completions man generate help" -f -a "start" -d 'Start the machines of environments again; those that were suspended go on where they were'
complete -c wardian -n "__fish_wardian_using_subcommand help; and not __fish_seen_subcommand_from up ls status events down suspend start rm snapshot restore clone conflicts expire addresses fence acl gateway join part expose exec console cp image host net plan daemon schema openapi completions man generate help" -f -a "rm" -d 'Remove environments with everything that belongs to them'
complete -c wardian -n "__fish_wardian_using_subcommand help; and not __fish_seen_subcommand_from up ls status events down suspend start rm snapshot restore clone conflicts expire addresses fence acl gateway join part expose exec console cp image host net plan daemon schema openapi completions man generate help" -f -a "snapshot" -d 'Keep a moment of an environment under a name: memory, devices and disks of all its machines'
complete -c wardian -n "__fish_wardian_using_subcommand help; and not __fish_seen_subcommand_from up ls status events down suspend start rm snapshot restore clone conflicts expire addresses fence acl gateway join part expose exec console cp image host net plan daemon schema openapi completions man generate help" -f -a "restore" -d 'Take an environment back to a snapshot; its outside stays its own'
complete -c wardian -n "__fish_wardian_using_subcommand help; and not __fish_seen_subcommand_from up ls status events down suspend start rm snapshot restore clone conflicts expire addresses fence acl gateway join part expose exec console cp image host net plan daemon schema openapi completions man generate help" -f -a "clone" -d 'Make new environments whose inside is the same and whose outside is their own'
complete -c wardian -n "__fish_wardian_using_subcommand help; and not __fish_seen_subcommand_from up ls status events down suspend start rm snapshot restore clone conflicts expire addresses fence acl gateway join part expose exec console cp image host net plan daemon schema openapi completions man generate help" -f -a "conflicts" -d 'Say what environments would collide in, if they were not isolated'
complete -c wardian -n "__fish_wardian_using_subcommand help; and not __fish_seen_subcommand_from up ls status events down suspend start rm snapshot restore clone conflicts expire addresses fence acl gateway join part expose exec console cp image host net plan daemon schema openapi completions man generate help" -f -a "expire" -d 'Change when an environment is removed by itself'
complete -c wardian -n "__fish_wardian_using_subcommand help; and not __fish_seen_subcommand_from up ls status events down suspend start rm snapshot restore clone conflicts expire addresses fence acl gateway join part expose exec console cp image host net plan daemon schema openapi completions man generate help" -f -a "addresses" -d 'Print the inside and outside identities of an environment\'s machines'
complete -c wardian -n "__fish_wardian_using_subcommand help; and not __fish_seen_subcommand_from up ls status events down suspend start rm snapshot restore clone conflicts expire addresses fence acl gateway join part expose exec console cp image host net plan daemon schema openapi completions man generate help" -f -a "fence" -d 'Say or change what may cross an environment\'s edge'
complete -c wardian -n "__fish_wardian_using_subcommand help; and not __fish_seen_subcommand_from up ls status events down suspend start rm snapshot restore clone conflicts expire addresses fence acl gateway join part expose exec console cp image host net plan daemon schema openapi completions man generate help" -f -a "acl" -d 'Say or change what machines may say to whom, and be told by whom'
complete -c wardian -n "__fish_wardian_using_subcommand help; and not __fish_seen_subcommand_from up ls status events down suspend start rm snapshot restore clone conflicts expire addresses fence acl gateway join part expose exec console cp image host net plan daemon schema openapi completions man generate help" -f -a "gateway" -d 'Say or change through whom an environment\'s machines reach the outside'
complete -c wardian -n "__fish_wardian_using_subcommand help; and not __fish_seen_subcommand_from up ls status events down suspend start rm snapshot restore clone conflicts expire addresses fence acl gateway join part expose exec console cp image host net plan daemon schema openapi completions man generate help" -f -a "join" -d 'Join two environments: their machines reach each other by their inside addresses'
complete -c wardian -n "__fish_wardian_using_subcommand help; and not __fish_seen_subcommand_from up ls status events down suspend start rm snapshot restore clone conflicts expire addresses fence acl gateway join part expose exec console cp image host net plan daemon schema openapi completions man generate help" -f -a "part" -d 'Part two environments that were joined'
complete -c wardian -n "__fish_wardian_using_subcommand help; and not __fish_seen_subcommand_from up ls status events down suspend start rm snapshot restore clone conflicts expire addresses fence acl gateway join part expose exec console cp image host net plan daemon schema openapi completions man generate help" -f -a "expose" -d 'Let the outside reach a port of a machine'
complete -c wardian -n "__fish_wardian_using_subcommand help; and not __fish_seen_subcommand_from up ls status events down suspend start rm snapshot restore clone conflicts expire addresses fence acl gateway join part expose exec console cp image host net plan daemon schema openapi completions man generate help" -f -a "exec" -d 'Run a command in a machine, through its guest agent'
complete -c wardian -n "__fish_wardian_using_subcommand help; and not __fish_seen_subcommand_from up ls status events down suspend start rm snapshot restore clone conflicts expire addresses fence acl gateway join part expose exec console cp image host net plan daemon schema openapi completions man generate help" -f -a "console" -d 'Attach to a machine\'s serial console'
complete -c wardian -n "__fish_wardian_using_subcommand help; and not __fish_seen_subcommand_from up ls status events down suspend start rm snapshot restore clone conflicts expire addresses fence acl gateway join part expose exec console cp image host net plan daemon schema openapi completions man generate help" -f -a "cp" -d 'Copy files into or out of a machine, through its guest agent'
complete -c wardian -n "__fish_wardian_using_subcommand help; and not __fish_seen_subcommand_from up ls status events down suspend start rm snapshot restore clone conflicts expire addresses fence acl gateway join part expose exec console cp image host net plan daemon schema openapi completions man generate help" -f -a "image" -d 'Images that machines start from'
complete -c wardian -n "__fish_wardian_using_subcommand help; and not __fish_seen_subcommand_from up ls status events down suspend start rm snapshot restore clone conflicts expire addresses fence acl gateway join part expose exec console cp image host net plan daemon schema openapi completions man generate help" -f -a "host" -d 'The host itself, and the others it shares its records with'
complete -c wardian -n "__fish_wardian_using_subcommand help; and not __fish_seen_subcommand_from up ls status events down suspend start rm snapshot restore clone conflicts expire addresses fence acl gateway join part expose exec console cp image host net plan daemon schema openapi completions man generate help" -f -a "net" -d 'What crosses between hosts'
complete -c wardian -n "__fish_wardian_using_subcommand help; and not __fish_seen_subcommand_from up ls status events down suspend start rm snapshot restore clone conflicts expire addresses fence acl gateway join part expose exec console cp image host net plan daemon schema openapi completions man generate help" -f -a "plan" -d 'What would be decided, and why'
complete -c wardian -n "__fish_wardian_using_subcommand help; and not __fish_seen_subcommand_from up ls status events down suspend start rm snapshot restore clone conflicts expire addresses fence acl gateway join part expose exec console cp image host net plan daemon schema openapi completions man generate help" -f -a "daemon" -d 'Run the daemon of this host'
complete -c wardian -n "__fish_wardian_using_subcommand help; and not __fish_seen_subcommand_from up ls status events down suspend start rm snapshot restore clone conflicts expire addresses fence acl gateway join part expose exec console cp image host net plan daemon schema openapi completions man generate help" -f -a "schema" -d 'Print the JSON Schema of the environment file'
complete -c wardian -n "__fish_wardian_using_subcommand help; and not __fish_seen_subcommand_from up ls status events down suspend start rm snapshot restore clone conflicts expire addresses fence acl gateway join part expose exec console cp image host net plan daemon schema openapi completions man generate help" -f -a "openapi" -d 'Print the OpenAPI document of the API'
complete -c wardian -n "__fish_wardian_using_subcommand help; and not __fish_seen_subcommand_from up ls status events down suspend start rm snapshot restore clone conflicts expire addresses fence acl gateway join part expose exec console cp image host net plan daemon schema openapi completions man generate help" -f -a "completions" -d 'Print the completions for a shell'
complete -c wardian -n "__fish_wardian_using_subcommand help; and not __fish_seen_subcommand_from up ls status events down suspend start rm snapshot restore clone conflicts expire addresses fence acl gateway join part expose exec console cp image host net plan daemon schema openapi completions man generate help" -f -a "man" -d 'Write the man pages into a folder'
complete -c wardian -n "__fish_wardian_using_subcommand help; and not __fish_seen_subcommand_from up ls status events down suspend start rm snapshot restore clone conflicts expire addresses fence acl gateway join part expose exec console cp image host net plan daemon schema openapi completions man generate help" -f -a "generate" -d 'Write the completions and man pages that are checked in'
complete -c wardian -n "__fish_wardian_using_subcommand help; and not __fish_seen_subcommand_from up ls status events down suspend start rm snapshot restore clone conflicts expire addresses fence acl gateway join part expose exec console cp image host net plan daemon schema openapi completions man generate help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c wardian -n "__fish_wardian_using_subcommand help; and __fish_seen_subcommand_from snapshot" -f -a "create" -d 'Take a snapshot; the machines go on as they were, after a pause of milliseconds'
complete -c wardian -n "__fish_wardian_using_subcommand help; and __fish_seen_subcommand_from snapshot" -f -a "ls" -d 'Print the tree of an environment\'s snapshots, and where in it the environment is'
complete -c wardian -n "__fish_wardian_using_subcommand help; and __fish_seen_subcommand_from snapshot" -f -a "rm" -d 'Remove snapshots; those taken after them stay whole'
complete -c wardian -n "__fish_wardian_using_subcommand help; and __fish_seen_subcommand_from image" -f -a "import" -d 'Import a disk: qcow2, raw, vmdk, vhdx or vhd'
complete -c wardian -n "__fish_wardian_using_subcommand help; and __fish_seen_subcommand_from image" -f -a "ls" -d 'List the images'
complete -c wardian -n "__fish_wardian_using_subcommand help; and __fish_seen_subcommand_from image" -f -a "rm" -d 'Remove images that no machine uses'
complete -c wardian -n "__fish_wardian_using_subcommand help; and __fish_seen_subcommand_from host" -f -a "check" -d 'Say whether this host has what Wardian needs, and what to do where it hasn\'t'
complete -c wardian -n "__fish_wardian_using_subcommand help; and __fish_seen_subcommand_from host" -f -a "ls" -d 'List the hosts of the cluster'
complete -c wardian -n "__fish_wardian_using_subcommand help; and __fish_seen_subcommand_from host" -f -a "join" -d 'Bring this host into the cluster that its configuration names by now'
complete -c wardian -n "__fish_wardian_using_subcommand help; and __fish_seen_subcommand_from net" -f -a "show" -d 'Say what the packet filter of this host has carried to and from the others, and what it has dropped'
complete -c wardian -n "__fish_wardian_using_subcommand help; and __fish_seen_subcommand_from plan" -f -a "place" -d 'Say which host an environment would go to'
