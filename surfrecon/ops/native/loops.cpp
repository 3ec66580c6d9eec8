// Short loops of a graph that a cocycle tells from those that bound: Dijkstra's algorithm around each root.
//
// Layout: as in reference/loops.py, numbers int64, lengths float32. What is known of a vertex counts where its stamp is the search's, so that
// a search costs what it reaches, not what there is. Must equal reference/loops.py: odd_loops, but for the rounding of sums.

#include <algorithm>
#include <cstdint>
#include <queue>
#include <utility>
#include <vector>

#include "interface.h"

namespace {

struct Graph {
    const int64_t *first, *neighbour, *edge;
    const float* length;
    const int64_t* words;
};

struct Known {
    float distance;
    int64_t before, word, stamp;
    bool done;
};

class Search {
public:
    Search(const Graph& graph, int64_t vertices, uint8_t* searched)
        : graph(graph), known(size_t(vertices), Known{0, 0, 0, 0, false}), searched(searched) {}

    // Whether there is an odd loop over the root, put into `loop`, and its word.
    bool from(int64_t root, float longest, float near, std::vector<int64_t>& loop, int64_t& odd) {
        ++stamp;
        int64_t a = -1, b = -1;
        heap = {};
        reach(root, 0, -1, 0);
        while (!heap.empty() && heap.top().first <= longest / 2) {
            const int64_t vertex = heap.top().second;
            heap.pop();
            if (known[vertex].done) continue;
            known[vertex].done = true;
            const float d = known[vertex].distance;
            if (d <= near) searched[vertex] = 1;
            for (int64_t place = graph.first[vertex]; place < graph.first[vertex + 1]; ++place) {
                const int64_t other = graph.neighbour[place], edge = graph.edge[place], along = known[vertex].word ^ graph.words[edge];
                const float step = graph.length[edge];
                const Known& there = known[other];
                const bool met = there.stamp == stamp;
                if (met && there.done) {
                    if (along != there.word && d + there.distance + step <= longest)
                        longest = d + there.distance + step, a = vertex, b = other, odd = along ^ there.word;
                } else if (!met || d + step < there.distance) {
                    reach(other, d + step, vertex, along);
                }
            }
        }
        if (a >= 0) between(a, b, loop);
        return a >= 0;
    }

private:
    using Item = std::pair<float, int64_t>;

    void reach(int64_t vertex, float distance, int64_t before, int64_t word) {
        known[vertex] = {distance, before, word, stamp, false};
        heap.push({distance, vertex});
    }

    // The loop over the edge (a, b) and the paths of its ends to the root, without what these share.
    void between(int64_t a, int64_t b, std::vector<int64_t>& loop) const {
        std::vector<int64_t> other;
        loop.clear();
        for (int64_t v = a; v >= 0; v = known[v].before) loop.push_back(v);
        for (int64_t v = b; v >= 0; v = known[v].before) other.push_back(v);
        int64_t fork = -1;  // the last vertex that both paths have
        while (!loop.empty() && !other.empty() && loop.back() == other.back()) fork = loop.back(), loop.pop_back(), other.pop_back();
        std::reverse(loop.begin(), loop.end());
        loop.insert(loop.begin(), fork);
        loop.insert(loop.end(), other.begin(), other.end());
    }

    const Graph graph;
    std::vector<Known> known;
    std::priority_queue<Item, std::vector<Item>, std::greater<Item>> heap;
    uint8_t* searched;
    int64_t stamp = 0;
};

}  // namespace

// From the root numbered done[0] on, as long as the loops fit into `room` numbers at `loop`; done: roots, loops.
SURFRECON_API void odd_loops(
    const int64_t* first, const int64_t* neighbour, const int64_t* edge, const float* length, const int64_t* words, int64_t vertices,
    const int64_t* roots, int64_t count, float longest, float near, uint8_t* searched, int64_t* loop, int64_t room, int64_t* sizes,
    int64_t* found, int64_t* done) {
    Search search({first, neighbour, edge, length, words}, vertices, searched);
    std::vector<int64_t> here;
    int64_t loops = 0, word = 0;
    for (; done[0] < count; ++done[0]) {
        if (searched[roots[done[0]]]) continue;
        if (!search.from(roots[done[0]], longest, near, here, word)) continue;
        if (int64_t(here.size()) > room) {  // once more, into new room
            searched[roots[done[0]]] = 0;
            break;
        }
        loop = std::copy(here.begin(), here.end(), loop);
        room -= int64_t(here.size());
        sizes[loops] = int64_t(here.size()), found[loops] = word;
        ++loops;
    }
    done[1] = loops;
}
