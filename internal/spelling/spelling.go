// Package spelling finds what a misspelt word may have meant.
package spelling

import "unicode/utf8"

// Limit is how many letters of a word may be wrong: a third of them, at least one.
func Limit(word string) int { return max(utf8.RuneCountInString(word)/3, 1) }

// Nearest returns the first of the words that differs least from word, in at most Limit letters, or
// "" if none does.
func Nearest(words []string, word string) string {
	best, found := Limit(word)+1, ""
	for _, w := range words {
		if d := Distance(word, w, best-1); d < best {
			best, found = d, w
		}
	}
	return found
}

// Hint is "; did you mean W?" of the Nearest word W, or "" if there is none.
func Hint(words []string, word string) string {
	if near := Nearest(words, word); near != "" {
		return "; did you mean " + near + "?"
	}
	return ""
}

// Distance is the number of letters to insert, remove, replace, or swap with their neighbour to
// turn a into b. If the lengths alone differ by more than limit, it is limit+1.
func Distance(a, b string, limit int) int {
	from, to := []rune(a), []rune(b)
	if max(len(from)-len(to), len(to)-len(from)) > limit {
		return limit + 1
	}
	before, last, row := make([]int, len(to)+1), make([]int, len(to)+1), make([]int, len(to)+1)
	for j := range last {
		last[j] = j
	}
	for i := range from {
		row[0] = i + 1
		for j := range to {
			change := last[j]
			if from[i] != to[j] {
				change++
			}
			row[j+1] = min(change, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && from[i] == to[j-1] && from[i-1] == to[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(to)]
}
