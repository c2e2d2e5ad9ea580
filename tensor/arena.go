package tensor

import "unsafe"

// arena hands out zeroed or dirty memory of element type T from slabs that it keeps: once it has
// grown to what a run needs at its widest, it allocates nothing.
type arena[T any] struct {
	slabs   [][]T
	slab    int // the slab in use
	used    int // elements used of it
	align   int // elements that every piece is a multiple of
	minSlab int // elements of the smallest slab

	reached int // the last slab that was in use since the last trim
}

type arenaMark struct{ slab, used int }

func (a *arena[T]) mark() arenaMark { return arenaMark{a.slab, a.used} }

func (a *arena[T]) release(m arenaMark) { a.slab, a.used = m.slab, m.used }

// get returns n elements with unspecified content.
func (a *arena[T]) get(n int) []T {
	room := (n + a.align - 1) / a.align * a.align
	for ; a.slab < len(a.slabs); a.slab, a.used = a.slab+1, 0 {
		if s := a.slabs[a.slab]; len(s)-a.used >= room {
			p := s[a.used : a.used+n : a.used+n]
			a.used += room
			a.reached = max(a.reached, a.slab)
			return p
		}
	}
	a.slabs = append(a.slabs, make([]T, max(room, a.minSlab, 2*a.lastLen())))
	a.slab, a.used = len(a.slabs)-1, room
	a.reached = a.slab
	return a.slabs[a.slab][:n:n]
}

// lastLen keeps the number of slabs logarithmic in what is asked for, but does not let one large
// run double for ever.
func (a *arena[T]) lastLen() int {
	if len(a.slabs) == 0 {
		return 0
	}
	const most = 32 << 20
	return min(len(a.slabs[len(a.slabs)-1]), most/2)
}

// trim drops the slabs that nothing has reached since the last trim.
func (a *arena[T]) trim() {
	keep := min(a.reached+1, len(a.slabs))
	clear(a.slabs[keep:])
	a.slabs, a.reached = a.slabs[:keep], 0
}

// wipe zeroes everything, so that nothing is kept alive by what was made before.
func (a *arena[T]) wipe() {
	for _, s := range a.slabs {
		clear(s)
	}
}

// bytes is the memory that the arena holds.
func (a *arena[T]) bytes() int64 {
	var n int64
	var zero T
	for _, s := range a.slabs {
		n += int64(len(s)) * int64(unsafe.Sizeof(zero))
	}
	return n
}
