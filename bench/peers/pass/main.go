// Command pass runs a subject of bench/peers, a block or a whole model with weights and inputs from
// package formula, and answers lines on standard input:
//
//	check PATH   writes the output to a file, as float32, and says ok
//	run          says the median milliseconds of 0.3 s of runs, or of one that takes longer
//	flops        says the operations of a run
//	peak         says the operations per second that no product in this number format can exceed
package main

import (
	"bufio"
	"encoding/binary"
	"flag"
	"fmt"
	"log"
	"math"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/tokencache/tokencache/internal/kernel"
	"github.com/tokencache/tokencache/internal/median"
	"github.com/tokencache/tokencache/tensor"
)

func main() {
	name := flag.String("subject", "block-s", "what is run")
	dtype := flag.String("dtype", "f32", "number format: f32, bf16 or int8")
	threads := flag.Int("threads", 2, "worker threads")
	flag.Parse()
	if err := run(*name, *dtype, *threads); err != nil {
		log.Fatal(err)
	}
}

func run(name, dtype string, threads int) error {
	d, err := kernel.ParseDType(dtype)
	if err != nil {
		return err
	}
	pool := tensor.NewPool(threads)
	defer pool.Close()
	g := tensor.NewGraph(pool)
	f, err := newSubject(g, name, d)
	if err != nil {
		return err
	}
	once := func() *tensor.Tensor {
		g.Reset()
		return f(g)
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		word, path, _ := strings.Cut(lines.Text(), " ")
		switch word {
		case "check":
			if err := write(path, once().Flat()); err != nil {
				return err
			}
			fmt.Println("ok")
		case "run":
			fmt.Println(milliseconds(once))
		case "flops":
			g.ResetFLOPs()
			once()
			fmt.Println(g.FLOPs())
		case "peak":
			fmt.Println(peak(d, threads))
		default:
			return fmt.Errorf("unknown command %q", word)
		}
	}
	return lines.Err()
}

// milliseconds returns the median time of runs for 0.3 s.
func milliseconds(once func() *tensor.Tensor) float64 {
	var times []float64
	for begin := time.Now(); len(times) == 0 || time.Since(begin) < 300*time.Millisecond; {
		start := time.Now()
		once()
		times = append(times, float64(time.Since(start).Nanoseconds())/1e6)
	}
	return median.Of(times)
}

// peak returns the rate of independent multiply-adds of several goroutines, in operations per
// second.
func peak(d tensor.DType, threads int) float64 {
	const rounds = 500_000 // some 100 ms
	flops := make([]int64, threads)
	start := time.Now()
	var wg sync.WaitGroup
	for i := range threads {
		wg.Go(func() { flops[i] = kernel.PeakFLOPs(d, rounds) })
	}
	wg.Wait()
	seconds := time.Since(start).Seconds()
	sum := int64(0)
	for _, n := range flops {
		sum += n
	}
	return float64(sum) / seconds
}

func write(path string, x []float32) error {
	b := make([]byte, 0, 4*len(x))
	for _, v := range x {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return os.WriteFile(path, b, 0o644)
}
