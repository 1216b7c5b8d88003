#!/usr/bin/perl
# netcat with the flags of busybox nc: HOST PORT, or -l -p PORT; -w SECONDS.
use strict;
use warnings;
use Socket;

my ($listen, $port, $wait, @rest) = (0, undef, 0);
while (@ARGV) {
    my $flag = shift @ARGV;
    if ($flag eq "-l") { $listen = 1 }
    elsif ($flag eq "-p") { $port = shift @ARGV }
    elsif ($flag eq "-lp") { $listen = 1; $port = shift @ARGV }
    elsif ($flag eq "-w") { $wait = shift @ARGV }
    elsif ($flag =~ /^-/) { die "usage: nc [-w SECONDS] HOST PORT | nc -l -p PORT\n" }
    else { push @rest, $flag }
}
$SIG{ALRM} = sub { print STDERR "nc: timed out\n"; exit 1 };
$SIG{TERM} = $SIG{INT} = sub { exit 143 };
my $peer;
if ($listen) {
    $port = $rest[-1] unless defined $port;
    socket(my $server, PF_INET, SOCK_STREAM, 6) or die "nc: socket: $!\n";
    setsockopt($server, SOL_SOCKET, SO_REUSEADDR, pack("l", 1));
    bind($server, sockaddr_in($port || 0, INADDR_ANY)) or die "nc: bind: $!\n";
    listen($server, 1) or die "nc: listen: $!\n";
    accept($peer, $server) or die "nc: accept: $!\n";
    close $server;
}
else {
    @rest == 2 or die "usage: nc [-w SECONDS] HOST PORT | nc -l -p PORT\n";
    my $address = inet_aton($rest[0]) or die "nc: bad address '$rest[0]'\n";
    alarm $wait if $wait;
    socket($peer, PF_INET, SOCK_STREAM, 6) or die "nc: socket: $!\n";
    connect($peer, sockaddr_in($rest[1], $address)) or die "nc: can't connect to remote host ($rest[0]): $!\n";
    alarm 0;
}
my $typing = 1;
while (1) {
    my $ready = "";
    vec($ready, fileno($peer), 1) = 1;
    vec($ready, fileno(STDIN), 1) = 1 if $typing;
    my $count = select $ready, undef, undef, $wait || undef;
    last if !$count;
    if (vec $ready, fileno($peer), 1) {
        my $got = sysread $peer, my $data, 65536;
        last unless $got;
        put(\*STDOUT, $data);
    }
    if ($typing && vec $ready, fileno(STDIN), 1) {
        my $got = sysread STDIN, my $data, 65536;
        if ($got) { put($peer, $data) }
        else { $typing = 0; shutdown $peer, 1 }
    }
}

sub put {
    my ($to, $data) = @_;
    my $at = 0;
    while ($at < length $data) {
        my $sent = syswrite $to, $data, length($data) - $at, $at;
        exit 1 unless defined $sent;
        $at += $sent;
    }
}
