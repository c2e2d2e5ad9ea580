// Command simulate says how long a job takes with 1 to 10,000 workers, and what bounds it: a
// discrete-event simulation of workers, the broker, the coordinator that fills the queue, and the
// store of results.
//
//	go run ./bench/jobs/simulate [-image 180 -shard 20 ...]
//
// The costs are measured: an image by generate, those of a shard by go test -bench . ./jobs.
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
	flag.Float64Var(&m.Ask, "ask", 0.0001, "seconds of the broker for a question: the jobs, a shard, a heartbeat")
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

// table prints how long the job takes by the number of workers, and what bounds it.
func table(out io.Writer, m model) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "workers\thours\tefficiency\tbroker busy\tstore busy\tshards lost\twaiting for\n")
	bound, all := 0, true
	for _, m.Workers = range numbers {
		r := m.run()
		fmt.Fprintf(w, "%d\t%.2f\t%.3f\t%.0f %%\t%.0f %%\t%d\t%s\n",
			m.Workers, r.Seconds/3600, r.Efficiency, 100*r.Broker, 100*r.Store, r.Lost, r.bend())
		if all = all && r.Efficiency >= enough; all {
			bound = m.Workers
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "efficiency >= %g up to %d workers\n", enough, bound)
	return err
}
