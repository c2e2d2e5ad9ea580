package tokencache

import (
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// team is a group of workers with what they need for passes of their own.
type team struct {
	pool  *tensor.Pool
	graph *tensor.Graph

	taken   []*sequence // of the tick
	group   seam.Group
	members []*seam.Member
	batch   seam.Batch
	begun   *sequence // whose policy is told of the pass
	ticks   int
}

// forget drops what a team still holds of the sequences of a tick.
func (t *team) forget() {
	t.graph.Reset()
	t.group.Leave()
	clear(t.taken[:cap(t.taken)])
	clear(t.members[:cap(t.members)])
	clear(t.batch.Cond[:cap(t.batch.Cond)])
	t.begun = nil
}

// pass runs the model over a group and gives each sequence its predictions.
func (t *team) pass(m seam.Model, group []*sequence) {
	g := t.graph
	g.ResetFLOPs()
	g.OpenLedger(len(group))
	for k, s := range group {
		t.begun = s
		g.ClearCharge(k)
		s.run.Begin(g, &s.batch, s.positions)
	}
	t.begun = nil
	if len(group) == 1 {
		s := group[0]
		g.ClearCharge(0)
		out := seam.Forward(g, m, s.run, &s.batch)
		s.again = seam.Finish(s.run, out)
		for i := range s.out {
			s.out[i] = out.Row(i)
		}
		return
	}
	t.members = t.members[:0]
	t.batch.T, t.batch.Cond = t.batch.T[:0], t.batch.Cond[:0]
	samples := 0
	for _, s := range group {
		t.members = append(t.members, s.member)
		t.batch.T, t.batch.Cond = append(t.batch.T, s.batch.T...), append(t.batch.Cond, s.batch.Cond...)
		samples += s.batch.Samples()
	}
	t.batch.X = g.New(samples, group[0].job.size)
	row := 0
	for _, s := range group {
		row += copy(t.batch.X.Data[row:], s.batch.X.Flat())
	}
	t.group.Join(g, t.members)
	t.group.Charge()
	x := m.Embed(g, &t.batch)
	t.group.Enter(x)
	for i := range m.Shape().Blocks {
		x = m.Block(g, &t.group, i, x)
	}
	t.group.Charge()
	out := m.Head(g, x)
	row = 0
	for k, s := range group {
		t.begun = s
		g.ClearCharge(k)
		s.again = seam.Finish(s.run, g.RowRange(out, row, row+len(s.out)))
		for i := range s.out {
			s.out[i] = out.Row(row)
			row++
		}
	}
	t.begun = nil
}

// culprit returns the sequence in whose policy a tick panicked, or nil.
func (t *team) culprit(group []*sequence) *sequence {
	switch m := t.group.Failed(); {
	case len(group) == 1:
		return group[0]
	case t.begun != nil:
		return t.begun
	case m != nil:
		for _, s := range group {
			if s.member == m {
				return s
			}
		}
	}
	return nil
}
