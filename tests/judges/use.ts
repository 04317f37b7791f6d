// What a programmer writes on the types that openapi-typescript makes.
import type { components, operations } from "./api";

type Placed = operations["place_order"]["responses"][202]["content"]["application/json"];
type Wanted = NonNullable<operations["list_books"]["parameters"]["query"]>;

export const total = (order: Placed): number | null => order.total_cents;
export const title = (book: components["schemas"]["BookOut"]): string => book.title;
export const cheap: Wanted = { max_price_cents: 1000, in_stock: true, sort: "price" };
