package seam

import (
	"errors"
	"iter"
	"runtime/debug"

	"github.com/tokencache/tokencache/tensor"
)

// Group is the Reuse of several sequences in one pass over the rows of all. Each sequence's own
// Reuse is asked about its own rows alone, and what they want computed is computed together: the
// tokens that Apply passes on are the rows that all of them passed on, one after another.
//
// A Reuse asks for a computation in the middle of its Apply. So that several can ask before one
// computation answers them all, each Apply runs in its own coroutine, which waits inside f.
// Nothing runs at the same time, and which sequences share a pass changes no bit of any of them.
//
// The zero Group is empty. A Group serves one Graph.
type Group struct {
	g      *tensor.Graph
	active []participant // whose rows the tokens of the site that runs are, in order
	depth  int
	levels []level // by depth
	sites  Sites
	parts  []*Tokens
	whole  []*Tokens // of each member: its tokens before the first block
	failed *Member
}

// participant is a member in a site.
type participant struct {
	*Member
	// silent: an outer site of its Reuse asked for nothing. It has samples in the tokens, without
	// rows, because what the model knows of each sample was made for all of them.
	silent bool
}

// level is what a site within sites needs.
type level struct {
	joined []participant // in the computation
	parts  []*Tokens     // what they asked for
}

// Member is a sequence of a Group. Its coroutines live until Close.
type Member struct {
	Reuse   Reuse
	Samples int

	owner int
	calls []*call // by depth, as sites lie within sites
}

// NewMember returns a sequence with a number of samples.
func NewMember(r Reuse, samples int) *Member { return &Member{Reuse: r, Samples: samples} }

// Close ends the coroutines of a sequence, wherever they are.
func (m *Member) Close() {
	for i := len(m.calls) - 1; i >= 0; i-- {
		m.calls[i].stop()
	}
	m.calls = nil
}

// call is an Apply of a Member's Reuse, in a coroutine.
type call struct {
	next func() (struct{}, bool)
	stop func()

	at     Site
	x      *Tokens // what Apply is given
	asked  *Tokens // what it passed to f, nil once it has returned
	waits  bool    // for an answer, or has no say at this site
	answer Tokens  // what f returns
	result *Tokens // what it returned
	part   Tokens
}

// errStopped unwinds a coroutine that is stopped while it waits.
var errStopped = errors.New("seam: stopped")

func newCall(m *Member) *call {
	c := &call{}
	c.next, c.stop = iter.Pull(func(yield func(struct{}) bool) {
		defer func() {
			switch v := recover().(type) {
			case nil:
			case *tensor.Panic:
				panic(v)
			default:
				if v != errStopped {
					// The coroutine's stack is lost otherwise.
					panic(&tensor.Panic{Value: v, Stack: debug.Stack()})
				}
			}
		}()
		f := func(x *Tokens) *Tokens {
			if c.asked = x; !yield(struct{}{}) {
				panic(errStopped)
			}
			return &c.answer
		}
		for {
			c.result = m.Reuse.Apply(c.at, c.x, f)
			if c.asked = nil; !yield(struct{}{}) {
				return
			}
		}
	})
	return c
}

// at returns the member's coroutine for a depth.
func (m *Member) at(depth int) *call {
	for len(m.calls) <= depth {
		m.calls = append(m.calls, newCall(m))
	}
	return m.calls[depth]
}

// Join makes the group that of members, whose samples stand in the batch in this order. Their
// owners in g's ledger are 0, 1, 2, ...
func (gr *Group) Join(g *tensor.Graph, members []*Member) {
	gr.g, gr.depth, gr.sites, gr.failed = g, 0, 0, nil
	gr.active = gr.active[:0]
	for i, m := range members {
		gr.active = append(gr.active, participant{Member: m})
		m.owner = i
		gr.sites |= m.Reuse.Sites()
	}
}

// Leave ends a pass: the group keeps nothing of its members.
func (gr *Group) Leave() {
	gr.active, gr.parts, gr.whole = emptied(gr.active), emptied(gr.parts), emptied(gr.whole)
	for i := range gr.levels {
		l := &gr.levels[i]
		l.joined, l.parts = emptied(l.joined), emptied(l.parts)
	}
}

// emptied returns s without elements, and with nothing left behind its end.
func emptied[T any](s []T) []T {
	clear(s[:cap(s)])
	return s[:0]
}

// Enter tells which rows of the tokens before the first block are whose.
func (gr *Group) Enter(x *Tokens) {
	first := len(gr.parts)
	gr.split(x, gr.active)
	gr.whole = gr.whole[:0]
	for _, p := range gr.parts[first:] {
		gr.whole = append(gr.whole, p.Copy(gr.g))
	}
	x.Parts, gr.parts = gr.whole, gr.parts[:first]
}

// Charge makes the Graph count the operations that follow for all members by their samples.
func (gr *Group) Charge() {
	gr.g.ClearCharge(0)
	for _, m := range gr.active {
		gr.g.Charge(m.owner, m.Samples)
	}
}

// Failed returns the member in whose Apply the pass panicked, nil if it was none's.
func (gr *Group) Failed() *Member { return gr.failed }

// Sites implements Reuse.
func (gr *Group) Sites() Sites { return gr.sites }

// Apply implements Reuse.
func (gr *Group) Apply(at Site, x *Tokens, f func(*Tokens) *Tokens) *Tokens {
	active := gr.active
	if len(active) == 1 {
		m := active[0]
		x = gr.only(x, m)
		if x.ChargeRows(gr.g); !m.Reuse.Sites().Has(at.Part) {
			return f(x)
		}
		return m.Reuse.Apply(at, x, f)
	}
	depth := gr.depth
	first := len(gr.parts)
	gr.split(x, active)
	parts := gr.parts[first:]
	joined := gr.ask(at, parts, active)

	// Compute what they want together, and let every member go on with its share of the results.
	var out *Tokens
	if len(joined) > 0 {
		u, same := gr.union(x, parts, joined, len(joined) == len(active))
		gr.active, gr.depth = joined, depth+1
		u.ChargeRows(gr.g)
		out = f(u)
		gr.active, gr.depth = active, depth
		gr.share(out, joined, same && out.X == u.X)
	}
	for _, m := range joined {
		switch c := m.at(depth); {
		case !c.waits:
		case !m.asks(at):
			c.result = &c.answer
		default:
			gr.resume(m.Member, c)
			if c.asked != nil {
				gr.failed = m.Member
				panic("seam: Apply called f twice")
			}
		}
	}
	y := gr.assemble(at, x, parts, active, out)
	gr.parts = gr.parts[:first]
	if x.Parts != nil {
		x.ChargeRows(gr.g)
	} else {
		gr.Charge()
	}
	return y
}

// only returns the tokens of a single member as its own, as it would have them alone.
func (gr *Group) only(x *Tokens, m participant) *Tokens {
	own := x.Copy(gr.g)
	if own.Owner = m.owner + 1; x.Parts != nil {
		p := x.Parts[0]
		own.KV, own.From, own.ColSums, own.Parts = p.KV, p.From, p.ColSums, nil
	}
	return own
}

// asks reports whether the member's Reuse is asked at a site.
func (m participant) asks(at Site) bool { return !m.silent && m.Reuse.Sites().Has(at.Part) }

// ask asks every member what it wants computed, and returns who takes part: nobody if all that is
// wanted are no rows.
//
// Within a block the samples of all active members take part, as the model's modulations are of all
// of them; those of a member that wants nothing have no rows there.
func (gr *Group) ask(at Site, parts []*Tokens, active []participant) []participant {
	for len(gr.levels) <= gr.depth {
		gr.levels = append(gr.levels, level{})
	}
	joined, wanted := gr.levels[gr.depth].joined[:0], false
	for k, m := range active {
		c := m.at(gr.depth)
		c.at, c.x, c.answer, c.asked, c.result = at, parts[k], Tokens{}, parts[k], nil
		if m.asks(at) {
			gr.resume(m.Member, c)
		}
		c.waits = c.asked != nil
		switch {
		case c.waits:
			wanted = wanted || !m.silent
		case at.Part == Block:
			continue
		default:
			c.asked, m.silent = gr.empty(parts[k]), true
		}
		joined = append(joined, m)
	}
	gr.levels[gr.depth].joined = joined
	if wanted {
		return joined
	}
	for k, m := range active {
		if c := m.at(gr.depth); c.waits {
			c.result = parts[k]
		}
	}
	return nil
}

// empty returns the samples of t without rows.
func (gr *Group) empty(t *Tokens) *Tokens {
	counts := gr.g.Ints(t.Rows.Samples())
	clear(counts)
	e := t.Copy(gr.g)
	e.X, e.Rows, e.Pos = gr.g.RowRange(t.X, 0, 0), gr.g.Rows(counts), nil
	e.KV, e.From, e.ColSums, e.Modulation = nil, nil, nil, nil
	if t.Skip != nil {
		e.Skip = gr.g.RowRange(t.Skip, 0, 0)
	}
	return e
}

// resume lets a member's Apply run until it asks for a computation or returns.
func (gr *Group) resume(m *Member, c *call) {
	gr.failed = m
	gr.g.ClearCharge(m.owner)
	c.next()
	gr.failed = nil
}

// split appends to parts the rows of each member in x.
func (gr *Group) split(x *Tokens, members []participant) {
	row, sample := 0, 0
	for k, m := range members {
		c := m.at(gr.depth)
		p := &c.part
		if x.Parts != nil {
			*p = *x.Parts[k]
		} else {
			*p = *x
			p.Rows = gr.rows(x.Rows, sample, m.Samples)
		}
		n := p.Rows.Len()
		p.Owner, p.Parts = m.owner+1, nil
		p.X = gr.g.RowRange(x.X, row, row+n)
		p.Pos = x.Pos[row : row+n]
		if x.C != nil {
			p.C = gr.g.RowRange(x.C, sample, sample+m.Samples)
		}
		if p.Skip = x.Skip; x.Skip != nil {
			p.Skip = gr.g.RowRange(x.Skip, row, row+n)
		}
		if p.Modulation = x.Modulation; x.Modulation != nil {
			p.Modulation = x.Modulation.of(gr.g, sample, sample+m.Samples)
		}
		gr.parts = append(gr.parts, p)
		row, sample = row+n, sample+m.Samples
	}
}

// rows returns the division of the rows of samples from the first on, counted from 0.
func (gr *Group) rows(all *tensor.Rows, first, samples int) *tensor.Rows {
	counts := gr.g.Ints(samples)
	for i := range counts {
		counts[i] = int32(all.Start[first+i+1] - all.Start[first+i])
	}
	return gr.g.Rows(counts)
}

// union returns the tokens that members asked for, one after another. Where all asked for all of
// theirs it has the memory of x, and same is true.
func (gr *Group) union(
	x *Tokens, parts []*Tokens, joined []participant, all bool,
) (u *Tokens, same bool) {
	depth := gr.depth
	u = NewTokens(gr.g)
	*u = *x
	u.Parts, u.Modulation, u.KV, u.From, u.ColSums = gr.levels[depth].parts[:0], nil, nil, nil, nil
	same, rows, samples := all, 0, 0
	for k, m := range joined {
		asked := m.at(depth).asked
		u.Parts = append(u.Parts, asked)
		same = same && asked.X == parts[k].X && asked.Skip == parts[k].Skip
		rows, samples = rows+asked.X.Rows, samples+m.Samples
	}
	gr.levels[depth].parts = u.Parts
	for k, m := range joined {
		u.Parts[k].Owner = m.owner + 1
	}
	if same {
		return u, true
	}
	counts, row, sample := gr.g.Ints(samples), 0, 0
	u.X = gr.g.New(rows, x.X.Cols)
	pos := gr.g.Ints(rows)
	if x.C != nil {
		u.C = gr.g.New(samples, x.C.Cols)
	}
	if x.Skip != nil {
		u.Skip = gr.g.New(rows, x.Skip.Cols)
	}
	for _, p := range u.Parts {
		for i := range p.Rows.Samples() {
			counts[sample+i] = int32(p.Rows.Start[i+1] - p.Rows.Start[i])
			if x.C != nil {
				copy(u.C.Row(sample+i), p.C.Row(i))
			}
		}
		copyRows(u.X, row, p.X)
		copy(pos[row:], p.Pos)
		if x.Skip != nil {
			copyRows(u.Skip, row, p.Skip)
		}
		row, sample = row+p.X.Rows, sample+p.Rows.Samples()
	}
	u.Rows, u.Pos = gr.g.Rows(counts), pos
	return u, false
}

// share gives each member its rows of what was computed, in place where that is so of them all.
func (gr *Group) share(out *Tokens, joined []participant, inPlace bool) {
	row := 0
	for _, m := range joined {
		c := m.at(gr.depth)
		c.answer = *c.asked
		c.answer.Modulation, c.answer.ColSums, c.answer.From = nil, nil, nil
		n := c.asked.X.Rows
		if !inPlace {
			c.answer.X = gr.g.RowRange(out.X, row, row+n)
		}
		row += n
	}
}

// assemble puts what the members' Apply returned together.
func (gr *Group) assemble(at Site, x *Tokens, parts []*Tokens, active []participant, out *Tokens) *Tokens {
	inPlace, passed := true, out != nil
	for k, m := range active {
		c := m.at(gr.depth)
		inPlace = inPlace && c.result.X == parts[k].X
		passed = passed && c.result.X == c.answer.X
	}
	branch := at.Part == Attention || at.Part == MLP
	switch {
	case inPlace && !branch:
		return x
	case passed && out.X.Rows == x.X.Rows:
		return gr.with(x, out.X)
	}
	y := x.X
	if branch {
		y = gr.g.New(x.X.Rows, x.X.Cols)
	}
	row := 0
	for k, m := range active {
		if c := m.at(gr.depth); branch || c.result.X != parts[k].X {
			copyRows(y, row, c.result.X)
		}
		row += parts[k].X.Rows
	}
	if branch {
		return gr.with(x, y)
	}
	return x
}

// with returns a copy of x with other values.
func (gr *Group) with(x *Tokens, y *tensor.Tensor) *Tokens {
	u := x.Copy(gr.g)
	u.X, u.Modulation, u.ColSums = y, nil, nil
	return u
}

// copyRows copies the rows of src to dst from a row on.
func copyRows(dst *tensor.Tensor, row int, src *tensor.Tensor) {
	for i := range src.Rows {
		copy(dst.Row(row+i), src.Row(i))
	}
}
