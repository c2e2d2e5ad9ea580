package npz

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// parseHeader reads the Python dictionary in a .npy header: descr, fortran_order and shape, each
// once, in any order. It understands the literals that NumPy writes there and evaluates nothing.
func parseHeader(text string) (header, error) {
	var h header
	seen := map[string]bool{}
	p := literal{text}
	if err := p.expect('{'); err != nil {
		return h, err
	}
	for !p.accept('}') {
		key, err := p.str()
		if err != nil {
			return h, fmt.Errorf("key: %w", err)
		}
		if seen[key] {
			return h, fmt.Errorf("%q is given twice", key)
		}
		seen[key] = true
		if err := p.expect(':'); err != nil {
			return h, err
		}
		switch key {
		case "descr":
			h.dtype, err = p.dtype()
		case "fortran_order":
			h.fortran, err = p.boolean()
		case "shape":
			h.shape, err = p.tuple()
		default:
			err = errors.New("not a key of a .npy header")
		}
		if err != nil {
			return h, fmt.Errorf("%q: %w", key, err)
		}
		if !p.accept(',') {
			if err := p.expect('}'); err != nil {
				return h, err
			}
			break
		}
	}
	if rest := p.space(); rest != "" {
		return h, fmt.Errorf("%q follows the dictionary", clip(rest))
	}
	for _, key := range []string{"descr", "fortran_order", "shape"} {
		if !seen[key] {
			return h, fmt.Errorf("%q is missing", key)
		}
	}
	return h, h.measure()
}

// literal is what is left to read of Python source text.
type literal struct{ rest string }

// space skips white space and returns the remaining text.
func (p *literal) space() string {
	p.rest = strings.TrimLeft(p.rest, " \t\r\n")
	return p.rest
}

func (p *literal) accept(c byte) bool {
	if rest := p.space(); rest == "" || rest[0] != c {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

func (p *literal) expect(c byte) error {
	if !p.accept(c) {
		return fmt.Errorf("%q where %q should be", clip(p.rest), c)
	}
	return nil
}

// str reads a string in either kind of quotes, without escapes.
func (p *literal) str() (string, error) {
	rest := p.space()
	if rest == "" || rest[0] != '\'' && rest[0] != '"' {
		return "", fmt.Errorf("%q is not a string", clip(rest))
	}
	s, after, closed := strings.Cut(rest[1:], rest[:1])
	if !closed {
		return "", fmt.Errorf("%q has no closing quote", clip(rest))
	}
	if strings.ContainsRune(s, '\\') {
		return "", fmt.Errorf("%q has an escape", clip(s))
	}
	p.rest = after
	return s, nil
}

func (p *literal) dtype() (DType, error) {
	if strings.HasPrefix(p.space(), "[") {
		return DType{}, fmt.Errorf("structured dtype %s is not supported", clip(p.rest))
	}
	s, err := p.str()
	if err != nil {
		return DType{}, err
	}
	return parseDType(s)
}

func (p *literal) boolean() (bool, error) {
	for word, value := range map[string]bool{"True": true, "False": false} {
		if rest, ok := strings.CutPrefix(p.space(), word); ok {
			p.rest = rest
			return value, nil
		}
	}
	return false, fmt.Errorf("%q is neither True nor False", clip(p.rest))
}

// tuple reads a tuple of sizes. As in Python, one size needs a comma after it.
func (p *literal) tuple() ([]int, error) {
	if err := p.expect('('); err != nil {
		return nil, err
	}
	sizes := []int{}
	comma := true
	for !p.accept(')') {
		if !comma {
			return nil, fmt.Errorf("%q where ',' or ')' should be", clip(p.rest))
		}
		n, err := p.size()
		if err != nil {
			return nil, err
		}
		if sizes = append(sizes, n); len(sizes) > maxDims {
			return nil, fmt.Errorf("more than %d dimensions", maxDims)
		}
		comma = p.accept(',')
	}
	if len(sizes) == 1 && !comma {
		return nil, errors.New("a number where a tuple should be")
	}
	return sizes, nil
}

// size reads a number without a sign; Python 2 wrote some with an L behind them.
func (p *literal) size() (int, error) {
	rest := p.space()
	digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
	n, err := strconv.Atoi(rest[:digits])
	if err != nil {
		return 0, fmt.Errorf("%q is not a size", clip(rest))
	}
	p.rest = strings.TrimPrefix(rest[digits:], "L")
	return n, nil
}

// clip shortens text from a file for an error message.
func clip(s string) string {
	const maxLen = 40
	if len(s) > maxLen {
		return s[:maxLen] + "…"
	}
	return s
}
