# Runs in the guest: COUNT connections to CLIENT's address, which must arrive at SERVER and are answered.
use strict;
use warnings;
use IO::Socket::INET;

my ($client, $server, $count) = @ARGV;
my $listener = IO::Socket::INET->new(LocalAddr => $server, Listen => 8, ReuseAddr => 1) or die "listen: $!";
for (1 .. $count) {
    my $to = IO::Socket::INET->new(PeerAddr => $client, Timeout => 5) or die "connect: $!";
    my $from = $listener->accept or die "accept: $!";
    print $to "request\n";
    $from->getline eq "request\n" or die 'request';
    print $from "answer\n";
    $to->getline eq "answer\n" or die 'answer';
}
