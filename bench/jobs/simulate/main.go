// Command simulate says how long a job takes with 1 to 10,000 workers, and what bounds it: a
// discrete-event simulation of workers, the broker, the coordinator that fills the queue, and the
// store of results.
//
//	go run ./bench/jobs/simulate [-image 120 -shard 960 ...]
//
// The costs are measured: an image by generate, those of the broker by
//
//	go test -run - -bench . ./jobs
//
// The broker does one thing after another, also while it waits for the disk. Workers are alike and
// take one shard at a time, as they do when one lasts 20 seconds or more.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
)

func main() {
	m := model{}
	flag.IntVar(&m.Images, "images", 1_000_000, "images of the job")
	flag.Float64Var(&m.Image, "image", 0.18, "seconds that a worker takes for an image")
	flag.Float64Var(&m.Spread, "spread", 0.1, "relative standard deviation of a shard's time")
	flag.Float64Var(&m.Shard, "shard", 20, "seconds of a shard, from which its number of images follows")
	flag.Float64Var(&m.Ask, "ask", 0.0001,
		"seconds of the broker for a question, an announcement or a heartbeat of a worker")
	flag.Float64Var(&m.Tell, "tell", 0.00001, "seconds of the broker for a message to one, as of a list")
	flag.Float64Var(&m.Sync, "sync", 0.004, "seconds of the broker for what it syncs to the disk: a shard queued or done")
	flag.Float64Var(&m.Trip, "trip", 0.002, "seconds to the broker and back")
	flag.Float64Var(&m.Bytes, "bytes", 784, "bytes of an image")
	flag.Float64Var(&m.Store, "store", 1e9, "bytes per second that the store takes")
	flag.Float64Var(&m.AckWait, "ack-wait", 30, "ack wait in seconds; heartbeats come at a third of it")
	flag.Float64Var(&m.Lifetime, "lifetime", 0, "mean seconds after which a worker dies and is replaced; 0: never")
	flag.Parse()
	if err := m.check(); err != nil {
		fmt.Fprintln(os.Stderr, "simulate:", err)
		os.Exit(1)
	}
	if err := table(os.Stdout, m); err != nil {
		fmt.Fprintln(os.Stderr, "simulate:", err)
		os.Exit(1)
	}
}

// enough is the efficiency that an added machine is to have.
const enough = 0.95

// numbers are the numbers of workers that are tried.
var numbers = []int{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000}

// table prints how long the job takes by the number of workers, what each added worker adds to the
// speed, as a share of what one alone would without any loss, how busy the broker is and on what
// most, and what costs the workers most of their time.
func table(out io.Writer, m model) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "workers\thours\tefficiency\tof those added\tbroker busy\tmost with\tworkers wait most for\tdied\n")
	bound, all := 0, true
	before, useful := 0, 0.0 // workers of the last row, and how many without any loss are as fast
	for _, m.Workers = range numbers {
		r := m.run()
		now := r.Efficiency * float64(m.Workers)
		added := (now - useful) / float64(m.Workers-before)
		before, useful = m.Workers, now
		load, work := r.load()
		cause, lost := r.loss()
		fmt.Fprintf(w, "%d\t%.2f\t%.3f\t%.3f\t%.0f %%\t%s\t%s: %.1f %%\t%d\n",
			m.Workers, r.Seconds/3600, r.Efficiency, added, 100*load, work, cause, 100*lost, r.Deaths)
		if all = all && added >= enough; all {
			bound = m.Workers
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "efficiency of the workers added >= %g up to %d workers\n", enough, bound)
	return err
}
