package reuse_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/tokencache/tokencache/reuse"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// rider is a sequence that shares passes with others.
type rider struct {
	text    string
	batches []*seam.Batch
	want    [][]float32 // of each step, alone
	flops   []int64     // likewise

	run    reuse.Run
	member *seam.Member
	next   int   // step
	paid   int64 // FLOPs of it, rejected passes included
}

// newRider returns a sequence, with what it is alone.
func newRider(t *testing.T, m net, text string, batches []*seam.Batch) *rider {
	t.Helper()
	r := &rider{text: text, batches: batches}
	samples := batches[0].Samples()
	pool := tensor.NewPool(1)
	defer pool.Close()
	g := tensor.NewGraph(pool)
	alone, err := made(t, m, text).NewRun(m, plan, samples)
	if err != nil {
		t.Fatal(err)
	}
	for p, b := range batches {
		g.ResetFLOPs()
		out := step(g, m, alone, b, slices.Repeat([]int{p}, samples)...)
		r.want = append(r.want, slices.Clone(out.Flat()))
		r.flops = append(r.flops, g.FLOPs())
	}
	if r.run, err = made(t, m, text).NewRun(m, plan, samples); err != nil {
		t.Fatal(err)
	}
	r.member = seam.NewMember(r.run, samples)
	t.Cleanup(r.member.Close)
	return r
}

// pass takes each sequence a step further, in one pass of all.
func pass(g *tensor.Graph, group *seam.Group, m net, riders []*rider) *tensor.Tensor {
	g.Reset()
	g.ResetFLOPs()
	g.OpenLedger(len(riders))
	var b seam.Batch
	var members []*seam.Member
	var x []float32
	for k, r := range riders {
		own := r.batches[r.next]
		g.ClearCharge(k)
		r.run.Begin(g, own, slices.Repeat([]int{r.next}, own.Samples()))
		members = append(members, r.member)
		x = append(x, own.X.Flat()...)
		b.T, b.Cond = append(b.T, own.T...), append(b.Cond, own.Cond...)
	}
	b.X = tensor.FromSlice(x, len(b.T), riders[0].batches[0].X.Cols)
	group.Join(g, members)
	group.Charge()
	tokens := m.Embed(g, &b)
	for i := range m.Shape().Blocks {
		tokens = m.Block(g, group, i, tokens)
	}
	group.Charge()
	return m.Head(g, tokens)
}

// TestGroup checks that sequences with different policies, of different sizes and at different
// steps, that join and leave a Group as they please, come out bit for bit as each does alone, and
// that each is charged the operations that it takes alone.
func TestGroup(t *testing.T) {
	for _, arch := range archs {
		t.Run(string(arch), func(t *testing.T) {
			t.Parallel()
			m := modelOf(t, arch)
			n := len(policies)
			for i, text := range policies {
				second, third := policies[(i+1+n/3)%n], policies[(i+1+2*n/3)%n]
				t.Run(fmt.Sprintf("%s with %s and %s", text, second, third), func(t *testing.T) {
					riders := []*rider{
						newRider(t, m, text, guided(m, inputsFrom(m, 1, 3))),
						newRider(t, m, second, inputsFrom(m, 1, 4)),
						newRider(t, m, third, inputsFrom(m, 3, 5)),
						newRider(t, m, "none", inputsFrom(m, 2, 6)),
					}
					ride(t, m, riders, rand.New(rand.NewPCG(uint64(i), 1)))
				})
			}
		})
	}
}

// ride runs sequences to their ends in passes of random groups.
func ride(t *testing.T, m net, riders []*rider, random *rand.Rand) {
	pool := tensor.NewPool(2)
	defer pool.Close()
	g := tensor.NewGraph(pool)
	var group seam.Group
	shared := 0
	for {
		riders = slices.DeleteFunc(slices.Clone(riders), func(r *rider) bool { return r.next == len(r.batches) })
		if len(riders) == 0 {
			break
		}
		random.Shuffle(len(riders), func(i, j int) { riders[i], riders[j] = riders[j], riders[i] })
		some := riders[:1+random.IntN(len(riders))]
		if len(some) > 1 {
			shared++
		}
		out := pass(g, &group, m, some)
		row := 0
		for k, r := range some {
			samples := r.batches[0].Samples()
			own := g.RowRange(out, row, row+samples)
			row += samples
			r.paid += g.OwnerFLOPs(k)
			if seam.Finish(r.run, own) {
				continue
			}
			got := own.Flat()
			if !slices.Equal(got, r.want[r.next]) {
				t.Fatalf("%s: step %d differs from that alone", r.text, r.next)
			}
			if r.paid != r.flops[r.next] {
				t.Errorf("%s: step %d is charged %d FLOPs, want %d", r.text, r.next, r.paid, r.flops[r.next])
			}
			r.paid = 0
			r.next++
		}
	}
	if shared < 2 {
		t.Errorf("%d passes were shared", shared)
	}
}
