package diffusion

// mt19937 is the Mersenne Twister of Matsumoto and Nishimura 1998 with 32-bit output.
type mt19937 struct {
	state [624]uint32
	next  int // of state, the next word to be tempered; len(state) when all are used
}

func (m *mt19937) seed(seed uint32) {
	for i := range m.state {
		if i > 0 {
			prev := m.state[i-1]
			seed = 1812433253*(prev^prev>>30) + uint32(i)
		}
		m.state[i] = seed
	}
	m.next = len(m.state)
}

func (m *mt19937) uint32() uint32 {
	if m.next == len(m.state) {
		m.twist()
	}
	y := m.state[m.next]
	m.next++
	y ^= y >> 11
	y ^= y << 7 & 0x9d2c5680
	y ^= y << 15 & 0xefc60000
	return y ^ y>>18
}

func (m *mt19937) twist() {
	const n, middle = len(m.state), 397
	for i := range m.state {
		y := m.state[i]&0x80000000 | m.state[(i+1)%n]&0x7fffffff
		word := m.state[(i+middle)%n] ^ y>>1
		if y&1 != 0 {
			word ^= 0x9908b0df
		}
		m.state[i] = word
	}
	m.next = 0
}
