#!/usr/bin/perl
# Fetches http URLs with the flags of busybox wget: -q quiet, -O FILE (- is stdout), -T SECONDS, -t TRIES, -S, --spider.
use strict;
use warnings;
use Socket;

my ($quiet, $out, $timeout, $spider, $show, @urls) = (0, undef, 900, 0, 0);
while (@ARGV) {
    my $flag = shift @ARGV;
    if ($flag eq "-q") { $quiet = 1 }
    elsif ($flag eq "-qO-") { $quiet = 1; $out = "-" }
    elsif ($flag eq "-qO") { $quiet = 1; $out = shift @ARGV }
    elsif ($flag eq "-O-") { $out = "-" }
    elsif ($flag eq "-O") { $out = shift @ARGV }
    elsif ($flag eq "-T") { $timeout = shift @ARGV }
    elsif ($flag eq "-t" || $flag eq "-U") { shift @ARGV }
    elsif ($flag eq "-S") { $show = 1 }
    elsif ($flag eq "-c") { }
    elsif ($flag eq "--spider" || $flag eq "-s") { $spider = 1 }
    elsif ($flag =~ /^-/) { die "usage: wget [-qSc] [--spider] [-O FILE] [-T SECONDS] URL...\n" }
    else { push @urls, $flag }
}
@urls or die "wget: missing URL\n";
$SIG{ALRM} = sub { print STDERR "wget: download timed out\n"; exit 1 };
fetch($_) for @urls;

sub fetch {
    my ($url) = @_;
    my ($host, $port, $path) = $url =~ m{^(?:http://)?([^/:]+)(?::(\d+))?(/.*)?$} or fail("bad URL '$url'");
    $url =~ m{^https:} and fail("https is not supported");
    $port ||= 80;
    $path = "/" unless defined $path;
    my $address = inet_aton($host) or fail("bad address '$host'");
    print STDERR "Connecting to $host:$port (" . inet_ntoa($address) . ":$port)\n" unless $quiet;
    alarm $timeout;
    socket(my $server, PF_INET, SOCK_STREAM, 6) or fail("socket: $!");
    connect($server, sockaddr_in($port, $address)) or fail("can't connect to remote host (" . inet_ntoa($address) . "): $!");
    binmode $server;
    my $method = $spider ? "HEAD" : "GET";
    my $called = $port == 80 ? $host : "$host:$port";
    syswrite $server, "$method $path HTTP/1.0\r\nHost: $called\r\nUser-Agent: wget\r\nConnection: close\r\n\r\n";
    my $status = <$server>;
    defined $status or fail("server returned nothing");
    $status =~ s/\s+$//;
    while (defined(my $line = <$server>)) {
        last if $line =~ /^\r?\n$/;
        print STDERR "  $line" if $show;
    }
    $status =~ m{^HTTP/1\.\d 2\d\d} or fail("server returned error: $status");
    return if $spider;
    my $name = $out;
    unless (defined $name) {
        ($name) = $path =~ m{([^/?]+)(?:\?.*)?$};
        $name = "index.html" unless defined $name;
    }
    my $file;
    if ($name eq "-") { $file = \*STDOUT }
    else { open $file, ">", $name or fail("can't open '$name': $!") }
    binmode $file;
    while (read $server, my $piece, 65536) {
        alarm $timeout;
        print $file $piece or fail("write: $!");
    }
    $name eq "-" or close $file or fail("write: $!");
    alarm 0;
}

sub fail {
    print STDERR "wget: $_[0]\n";
    exit 1;
}
