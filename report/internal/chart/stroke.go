package chart

import "math"

// outline returns polygons of the same orientation whose union is the stroke of a path: one for
// each segment, and one for the open side of each turn.
func outline(p Path, width float64) [][]Point {
	var all [][]Point
	for _, c := range p {
		points := distinct(c)
		for i := 1; i < len(points); i++ {
			a, b := points[i-1], points[i]
			n := normal(a, b, width/2)
			all = append(all, oriented(
				Point{a.X + n.X, a.Y + n.Y}, Point{b.X + n.X, b.Y + n.Y},
				Point{b.X - n.X, b.Y - n.Y}, Point{a.X - n.X, a.Y - n.Y}))
			if i+1 < len(points) {
				all = append(all, join(a, b, points[i+1], width/2))
			}
		}
		if c.Closed && len(points) > 2 {
			all = append(all, join(points[len(points)-2], points[0], points[1], width/2))
		}
	}
	return all
}

// distinct returns a contour's points without those that follow an equal one. A closed contour
// ends where it begins.
func distinct(c Contour) []Point {
	var points []Point
	for _, p := range c.Points {
		if len(points) == 0 || p != points[len(points)-1] {
			points = append(points, p)
		}
	}
	if c.Closed && len(points) > 1 && points[0] != points[len(points)-1] {
		points = append(points, points[0])
	}
	return points
}

// normal returns the vector of a length at a right angle to the line from a to b.
func normal(a, b Point, length float64) Point {
	dx, dy := b.X-a.X, b.Y-a.Y
	f := length / math.Hypot(dx, dy)
	return Point{-dy * f, dx * f}
}

// join returns what fills the open side of the turn at b: a mitre up to a right angle, beyond it
// a bevel, because mitres of sharp turns are long.
func join(a, b, c Point, half float64) []Point {
	n0, n1 := normal(a, b, half), normal(b, c, half)
	if n0.X*n1.Y-n0.Y*n1.X > 0 {
		n0, n1 = Point{-n0.X, -n0.Y}, Point{-n1.X, -n1.Y}
	}
	first, last := Point{b.X + n0.X, b.Y + n0.Y}, Point{b.X + n1.X, b.Y + n1.Y}
	cos := (n0.X*n1.X + n0.Y*n1.Y) / (half * half)
	if cos < -1e-9 {
		return oriented(b, first, last)
	}
	f := 1 / (1 + cos)
	return oriented(b, first, Point{b.X + (n0.X+n1.X)*f, b.Y + (n0.Y+n1.Y)*f}, last)
}

// oriented returns a convex polygon in the order whose area counts as positive.
func oriented(points ...Point) []Point {
	area := 0.0
	for i, p := range points {
		q := points[(i+1)%len(points)]
		area += p.X*q.Y - p.Y*q.X
	}
	if area < 0 {
		for i, j := 0, len(points)-1; i < j; i, j = i+1, j-1 {
			points[i], points[j] = points[j], points[i]
		}
	}
	return points
}

// dashed returns the dashes of a path, or the path if there are none.
func dashed(p Path, lengths []float64) Path {
	if len(lengths) == 0 {
		return p
	}
	var dashes Path
	for _, c := range p {
		points := distinct(c)
		if len(points) == 0 {
			continue
		}
		at, left := 0, lengths[0] // of the pattern
		dash := []Point{points[0]}
		for i := 1; i < len(points); i++ {
			from, to := points[i-1], points[i]
			length := math.Hypot(to.X-from.X, to.Y-from.Y)
			done := 0.0
			for length-done > left {
				done += left
				t := done / length
				p := Point{from.X + (to.X-from.X)*t, from.Y + (to.Y-from.Y)*t}
				if at%2 == 0 {
					dashes = append(dashes, Contour{Points: append(dash, p)})
				}
				at++
				left, dash = lengths[at%len(lengths)], []Point{p}
			}
			left -= length - done
			dash = append(dash, to)
		}
		if at%2 == 0 {
			dashes = append(dashes, Contour{Points: dash})
		}
	}
	return dashes
}
