# An orchestrator in Perl: runs the stages of its plan file, one after the other.
use strict;
use warnings;

open(my $plan, '<', $ARGV[0]) or die "$ARGV[0]: $!\n";
my @stages = <$plan>;
close $plan;
for my $stage (@stages) {
    chomp $stage;
    my ($tolerant, @commands) = split /\t/, $stage;
    my (@pids, @bad);
    for my $command (@commands) {
        my @words = split /\x1f/, $command;
        my $pid = fork() // die "fork: $!\n";
        if (!$pid) { exec { $words[0] } @words or exit 127 }
        push @pids, $pid;
    }
    for my $pid (@pids) { waitpid($pid, 0); push @bad, "$pid: status $?" if $? }
    die join("\n", @bad) . "\n" if @bad && !$tolerant;
}
