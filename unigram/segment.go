package unigram

import (
	"fmt"
	"math"
)

// unknownPenalty is what a character that is no piece costs more than the least likely piece.
const unknownPenalty = 10

// maxPieceBytes bounds the pieces of a file, and with them the time that segmentation takes.
// SentencePiece trains pieces of up to 16 characters unless told otherwise.
const maxPieceBytes = 256

// model is the set of pieces with their scores, which are log probabilities.
type model struct {
	pieces  []string
	scores  []float64
	ids     map[string]int32 // of the pieces that text is cut into
	unknown int32            // id of <unk>
	floor   float64          // score of an unknown character
	longest int              // bytes of the longest piece
	single  bool             // sums are rounded to float32, as SentencePiece's are
}

// newModel indexes the pieces for which usable says yes: those that text can be cut into.
func newModel(pieces []string, scores []float64, unknown int, usable func(id int) bool) (*model, error) {
	if unknown < 0 || unknown >= len(pieces) {
		return nil, fmt.Errorf("<unk> has id %d, want one of the %d pieces", unknown, len(pieces))
	}
	m := &model{
		pieces:  pieces,
		scores:  scores,
		ids:     make(map[string]int32, len(pieces)),
		unknown: int32(unknown),
	}
	least := math.Inf(1)
	for id, piece := range pieces {
		if math.IsNaN(scores[id]) || math.IsInf(scores[id], 0) {
			return nil, fmt.Errorf("piece %d: score %g, want a number", id, scores[id])
		}
		if !usable(id) {
			continue
		}
		if piece == "" || len(piece) > maxPieceBytes {
			return nil, fmt.Errorf("piece %d has %d bytes, want 1 to %d", id, len(piece), maxPieceBytes)
		}
		if _, twice := m.ids[piece]; twice {
			return nil, fmt.Errorf("piece %d: %.40q is there twice", id, piece)
		}
		m.ids[piece] = int32(id)
		m.longest = max(m.longest, len(piece))
		least = min(least, scores[id])
	}
	if len(m.ids) == 0 {
		return nil, fmt.Errorf("no pieces")
	}
	m.floor = least - unknownPenalty
	return m, nil
}

// way is the best way found to cut the text before a position.
type way struct {
	start int32 // of the last piece; -1: none found yet
	id    int32
	score float64
}

// segment appends to ids the pieces of text whose sum of scores is highest. Ways are compared from
// left to right, shorter pieces first, and one that is as good as the kept one does not replace it.
// Neighboring unknown characters become one <unk>.
func (m *model) segment(ids []int32, text string) []int32 {
	ways := make([]way, len(text)+1)
	for i := range ways {
		ways[i].start = -1
	}
	for start := 0; start < len(text); {
		char := runeLength(text[start:])
		found := false
		for end := start + char; end <= len(text) && end-start <= m.longest; {
			if id, ok := m.ids[text[start:end]]; ok {
				m.extend(ways, start, end, id, m.scores[id])
				found = found || end-start == char
			}
			if end == len(text) {
				break
			}
			end += runeLength(text[end:])
		}
		if !found {
			m.extend(ways, start, start+char, m.unknown, m.floor)
		}
		start += char
	}

	first := len(ids)
	for end := int32(len(text)); end > 0; end = ways[end].start {
		ids = append(ids, ways[end].id)
	}
	cut := ids[first:]
	for i, j := 0, len(cut)-1; i < j; i, j = i+1, j-1 {
		cut[i], cut[j] = cut[j], cut[i]
	}
	kept := ids[:first]
	for i, id := range cut {
		if i == 0 || id != m.unknown || cut[i-1] != m.unknown {
			kept = append(kept, id)
		}
	}
	return kept
}

// extend offers the way to end whose last piece begins at start.
func (m *model) extend(ways []way, start, end int, id int32, score float64) {
	sum := ways[start].score + score
	if m.single {
		sum = float64(float32(ways[start].score) + float32(score))
	}
	if w := &ways[end]; w.start < 0 || sum > w.score {
		*w = way{int32(start), id, sum}
	}
}
