/* How the page is looked at: on a wall (no chrome, dark) or on a desk; wide or narrow. */

class Look {
  wall = $state(new URLSearchParams(location.search).get('wall') === '1')
  narrow = $state(false)

  constructor() {
    this.#paint()
    const narrow = window.matchMedia('(max-width: 899px)')
    this.narrow = narrow.matches
    narrow.addEventListener('change', (event) => (this.narrow = event.matches))
  }

  toggleWall(): void {
    this.wall = !this.wall
    this.#paint()
    const address = new URL(location.href)
    if (this.wall) address.searchParams.set('wall', '1')
    else address.searchParams.delete('wall')
    history.replaceState(null, '', address)
  }

  /** The theme is on the page before anything is drawn again: the map and the charts read their colours from it. */
  #paint(): void {
    document.documentElement.dataset.theme = this.wall ? 'dark' : 'light'
  }
}

export const look = new Look()
