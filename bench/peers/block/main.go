// Command block runs the DiT block in block.safetensors, which torch_block.py wrote, and answers
// lines on standard input: "check" with the largest difference from the recorded output relative to
// its root mean square, any other with the median milliseconds of 0.3 s of runs.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"log"
	"math"
	"os"
	"slices"
	"time"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/nn"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

func main() {
	heads := flag.Int("heads", 6, "attention heads")
	flag.Parse()
	if err := run(*heads); err != nil {
		log.Fatal(err)
	}
}

func run(heads int) error {
	f, err := checkpoint.Open("block.safetensors")
	if err != nil {
		return err
	}
	defer f.Close()
	info, ok := f.Lookup("x")
	if !ok || len(info.Shape) != 3 {
		return fmt.Errorf("tensor x: shape %v, want [batch, tokens, width]", info.Shape)
	}
	batch, tokens, width := info.Shape[0], info.Shape[1], info.Shape[2]
	l := nn.NewLoader(f)
	block := &dit.Block{
		Attn:  nn.LoadAttention(l, "attn", width, heads),
		MLP:   nn.LoadMLP(l, "mlp", width, 4*width),
		AdaLN: l.Linear("adaLN_modulation.1", 6*width, width),
	}
	x, c, out := l.Table("x", batch*tokens, width), l.Table("c", batch, width), l.Table("out", batch*tokens, width)
	if err := l.Err(); err != nil {
		return err
	}
	pool := tensor.NewPool(2)
	defer pool.Close()
	g := tensor.NewGraph(pool)
	rows := tensor.Uniform(batch, tokens)
	once := func() (y *tensor.Tensor, ms float64) {
		g.Reset()
		in := &seam.Tokens{X: g.Copy(x), Rows: rows, C: c} // a block works in place
		start := time.Now()
		y = block.Forward(g, seam.Always, 0, in).X
		return y, float64(time.Since(start).Nanoseconds()) / 1e6
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		if lines.Text() == "check" {
			y, _ := once()
			fmt.Println(difference(y.Data, out.Data))
			continue
		}
		var times []float64
		for begin := time.Now(); time.Since(begin) < 300*time.Millisecond; {
			_, ms := once()
			times = append(times, ms)
		}
		slices.Sort(times)
		fmt.Println(times[len(times)/2])
	}
	return lines.Err()
}

// difference is the largest error relative to the root mean square of want.
func difference(got, want []float32) float64 {
	var worst, squares float64
	for i, v := range want {
		worst = max(worst, math.Abs(float64(got[i]-v)))
		squares += float64(v) * float64(v)
	}
	return worst / math.Sqrt(squares/float64(len(want)))
}
